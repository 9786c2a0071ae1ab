"""A model in a folder: ``config.json``, ``model.safetensors`` and ``tokenizer.spm``.

Nothing is ever unpickled. Tied weights are written once, and what the config alone decides (buffers) not at all.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kosmos_eval.errors import KosmosEvalError, ModelError
from kosmos_model.modeling.config import KosmosConfig, as_json, from_json
from kosmos_model.modeling.tokenizer import Tokenizer

if TYPE_CHECKING:
    from kosmos_model.modeling.kosmos import Kosmos

CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.spm"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


def save(model: Kosmos, folder: str | Path, *, tokenizer: Tokenizer) -> None:
    """Write a model; each file is replaced in one step, the weights last, so that a kill leaves the old ones."""
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: weight.detach().contiguous() for name, weight in model.named_parameters()}
    settings = json.dumps(as_json(model.config), indent=2) + "\n"
    _replace(folder / CONFIG, lambda path: path.write_text(settings))
    _replace(folder / TOKENIZER, lambda path: path.write_bytes(tokenizer.proto))
    _replace(folder / WEIGHTS, lambda path: save_file(weights, path, metadata={"format": "pt"}))


def load(folder: str | Path) -> tuple[Kosmos, Tokenizer]:
    """Read a model, in evaluation mode and fp32 on the CPU, and its tokenizer.

    Raises:
        ModelError: if a file is missing, damaged or of another model.
        UnknownName: if the config has a setting that no model has.
    """
    folder = Path(folder)
    _refuse_other_forms(folder)
    config = _config(folder / CONFIG)
    tokenizer = Tokenizer.read(folder / TOKENIZER, slots=config.latents)
    if len(tokenizer) != config.vocab_size:
        raise ModelError(
            f"{folder / TOKENIZER} has {len(tokenizer)} pieces, but the model {config.vocab_size}; "
            "use the tokenizer that the model was trained with"
        )
    model = empty(config)
    fill(model, read_weights(folder / WEIGHTS), source=folder / WEIGHTS)
    return model.eval(), tokenizer


def empty(config: KosmosConfig) -> Kosmos:
    """Return a model on the CPU whose parameters have no values and take no memory until `fill` gives them some."""
    from accelerate import init_empty_weights

    from kosmos_model.modeling.kosmos import build

    with init_empty_weights(include_buffers=False):
        model = build(config, seed=0)
    model.decoder.output_projection.weight = model.decoder.embed_tokens.weight
    return model


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, by name.

    Raises:
        ModelError: if it cannot be read, is cut short or is something else.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except OSError as error:
        raise ModelError(f"cannot read the weights {path}: {error.strerror or error}") from error
    except SafetensorError as error:
        raise ModelError(f"{path} is cut short or no safetensors file ({error}); copy it again") from error


@torch.no_grad()
def fill(model: torch.nn.Module, weights: dict[str, Tensor], *, source: Path) -> None:
    """Copy weights into a model, all of them or none; where it is `empty`, as fp32.

    Raises:
        ModelError: if names or shapes are not the model's.
    """
    own = dict(model.named_parameters())
    for names, what in (
        (own.keys() - weights.keys(), "lacks"),
        (weights.keys() - own.keys(), "has, unlike the model,"),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise ModelError(f"{source} {what} {min(names)}{more}; are the weights of another {CONFIG}?")
    for name, weight in own.items():
        if weight.shape != weights[name].shape:
            found, expected = tuple(weights[name].shape), tuple(weight.shape)
            raise ModelError(
                f"{name} in {source} is {found}, but {CONFIG} makes it {expected}; use the config of the weights"
            )
    for name, weight in own.items():
        if weight.is_meta:
            copy = weights[name].to(torch.float32, copy=True)  # not a view of the file: that may lie askew in memory
            given = torch.nn.Parameter(copy, weight.requires_grad)
            torch.utils.swap_tensors(weight, given)  # type: ignore[no-untyped-call]  # what is tied stays so
        else:
            weight.copy_(weights[name])


def _config(path: Path) -> KosmosConfig:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ModelError(f"expected an object of settings, found a {type(values).__name__}")
        return from_json(values)
    except OSError as error:
        raise ModelError(f"cannot read the model's settings {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise ModelError(f"{path} is no JSON: {error}") from error
    except KosmosEvalError as error:
        raise ModelError(f"{path}: {error}") from error


def _refuse_other_forms(folder: Path) -> None:
    wanted = f"a checkpoint is a folder with {CONFIG}, {WEIGHTS} and {TOKENIZER}"
    if folder.suffix in PICKLES:
        raise ModelError(f"{folder} is a pickle, which could run any code and is never loaded; {wanted}")
    if not folder.is_dir():
        raise ModelError(f"{folder} is {'a file' if folder.exists() else 'not there'}; {wanted}")
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    if pickles and not (folder / WEIGHTS).exists():
        raise ModelError(
            f"{folder} holds a pickle ({pickles[0]}), which could run any code and is never loaded; {wanted}"
        )


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
