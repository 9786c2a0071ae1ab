"""Find, check and load a transformers model folder; nothing in it is ever unpickled or executed."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from kosmos_eval.errors import ModelError, UnknownName
from kosmos_eval.files import Json
from kosmos_eval.models.device import pick_device

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel

DTYPES = ("auto", "float32", "bfloat16", "float16")
_ALSO = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16", "half": "float16"}
QUANTISED: dict[str, Json] = {
    "int8": {"load_in_8bit": True},
    "nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
    "fp4": {"load_in_4bit": True, "bnb_4bit_quant_type": "fp4"},
}
"""Weights in fewer bits, as bitsandbytes makes them while they are loaded."""

DEVICE_MAPS = ("auto", "balanced", "balanced_low_0", "sequential")
_DECODING = (
    *("no_repeat_ngram_size", "repetition_penalty", "bad_words_ids", "suppress_tokens", "begin_suppress_tokens"),
    *("min_length", "min_new_tokens", "forced_eos_token_id", "do_sample", "temperature", "top_k", "top_p"),
)
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt", "*.h5", "*.msgpack", "*.onnx", "*.gguf")
_DECIDES = ("*.json", "*.model", "*.txt", "*.jinja", "*.tiktoken")
Processor = Any
"""A processor of transformers: text and images to inputs. Each family has attributes of its own."""

INDEX = ".safetensors.index.json"


class ChatTemplate(Protocol):
    """A tokenizer or processor with a chat template, or what stands in for it."""

    def apply_chat_template(self, turns: Sequence[Json], /, **options: bool) -> str: ...


class Tokenizer(ChatTemplate, Protocol):
    """The part of a tokenizer of transformers that is used."""

    is_fast: bool
    bos_token: str | None
    bos_token_id: int | None
    eos_token_id: int | None
    pad_token_id: int | None

    def __call__(self, text: str | list[str], **options: bool) -> Json: ...

    def decode(self, ids: list[int], /, **options: bool) -> str: ...


@dataclass(frozen=True)
class Loaded:
    """A network in evaluation mode, with its tokenizer and processor.

    Args:
        network: the transformers model.
        tokenizer: its tokenizer, a fast one.
        processor: its processor; None for a model of text alone.
    """

    network: PreTrainedModel
    tokenizer: Tokenizer
    processor: Processor | None

    def __post_init__(self) -> None:
        if not self.tokenizer.is_fast:
            raise ModelError(
                f"{type(self.tokenizer).__name__} is a slow tokenizer; a fast one (tokenizer.json) is needed to find "
                "exact boundaries"
            )


def find(path: str, revision: str | None) -> Path:
    """Return the folder of a model: a local one, or a Hub name's snapshot (weights as safetensors only).

    Raises:
        ModelError: if there is no such folder, or it holds no model that is safe to load.
    """
    folder = Path(path).expanduser()
    if not folder.exists() and re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", path):
        folder = _snapshot(path, revision)
    if not folder.is_dir():
        raise ModelError(f"there is no model folder {path}; expected one with config.json and *.safetensors")
    if (folder / "adapter_config.json").is_file():
        raise ModelError(
            f"{path} holds an adapter (LoRA); merge it first: peft's merge_and_unload(), save_pretrained(...)"
        )
    if not (folder / "config.json").is_file():
        raise ModelError(f"{path} holds no config.json; expected a folder saved by transformers' save_pretrained")
    files = weight_files(folder)
    if not files:
        pickled = sorted(file.name for kind in _PICKLES for file in folder.glob(kind))
        found = f"weights only as {pickled[0]}" if pickled else "no weights"
        raise ModelError(
            f"{path} holds {found}; only *.safetensors is loaded: save_pretrained(..., safe_serialization=True)"
        )
    for file in files:
        with file.open("rb") as opened:
            if opened.read(20) == b"version https://git-":
                raise ModelError(f"{file} is only a pointer of Git LFS; run `git lfs pull` in {path}")
    return folder


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files of a folder: those that lie in it, and those that an index in it names.

    An index may name any file, and transformers unpickles what is not called ``*.safetensors``. A file may be a link
    that leads elsewhere, as in the Hub's cache: it is still read as safetensors, and `digest` reads it too.

    Raises:
        ModelError: if an index is malformed or names another kind of file, one outside the folder, or one that is
            missing.
    """
    files = set(folder.glob("*.safetensors"))
    for index in sorted(folder.glob(f"*{INDEX}")):
        found = _json_object(index)
        parts, metadata = found.get("weight_map"), found.get("metadata")
        if not isinstance(parts, dict) or not isinstance(metadata, dict):
            raise ModelError(f"{index} is not an index of weights; expected an object with metadata and weight_map")
        for name in dict.fromkeys(map(str, parts.values())):
            file = folder / name  # name itself, where it is an absolute path
            inside = ".." not in file.parts and file.parent.resolve().is_relative_to(folder.resolve())
            if not inside or file.suffix != ".safetensors":
                raise ModelError(f"{index} names the weights {name!r}; expected a *.safetensors file in {folder}")
            files.add(file)
    for file in files:
        if not file.is_file():
            raise ModelError(f"{file} is missing or not a file; copy or download the weights again")
    return sorted(files)


def _json_object(path: Path) -> Json:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise ModelError(f"{path} holds a {type(found).__name__}; expected a JSON object")
    return found


def check_config(config: PreTrainedConfig, folder: Path) -> None:
    """Refuse a configuration that names other weights than the folder's safetensors, or code to download and run.

    Raises:
        ModelError: if it does.
    """
    named = getattr(config, "transformers_weights", None)
    if named is not None and ("/" in str(named) or not str(named).endswith((".safetensors", INDEX))):
        raise ModelError(f"config.json names the weights {named!r}; expected a *.safetensors file in {folder}")
    for setting in ("_attn_implementation", "_experts_implementation"):
        kernel = getattr(config, setting, None)
        if "/" in str(kernel):
            raise ModelError(f"config.json asks for the code {kernel!r} of the Hub, which is never run; remove it")
    for name in config.sub_configs:
        if getattr(config, name, None) is not None:
            check_config(getattr(config, name), folder)


def _check_processor(folder: Path) -> None:
    """Refuse a processor that brings a model of its own, which transformers would load from anywhere."""
    path, alone = folder / "processor_config.json", folder / "audio_tokenizer_config.json"
    if alone.exists() or (path.exists() and "audio_tokenizer" in _json_object(path)):
        raise ModelError(
            f"the processor in {folder} has an audio tokenizer, which is never loaded; remove its settings"
        )


def _snapshot(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision, ignore_patterns=[*_PICKLES, "original/*"]))
    except (OSError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(
            f"there is no folder {name}, and the Hub does not give a model of that name: {reason}"
        ) from error


def load_folder(folder: Path, *, device: str, dtype: str, device_map: str | None = None) -> Loaded:
    """Load network, tokenizer and processor.

    Args:
        folder: of the model, as `find` gives it.
        device: ``auto`` takes a GPU where there is one.
        dtype: ``auto`` is the checkpoint's own, float32 on a CPU; `QUANTISED` has others.
        device_map: how the layers are spread over all devices of this process; None puts them on one.

    Raises:
        ModelError: if transformers cannot load it without running code of the folder.
    """
    import transformers
    from safetensors import SafetensorError

    place = pick_device(device, others=True)
    trusting: dict[str, bool] = {"local_files_only": True, "trust_remote_code": False}
    try:
        config = transformers.AutoConfig.from_pretrained(folder, **trusting)
        check_config(config, folder)
        _check_processor(folder)
        sees = type(config) in transformers.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
        if not sees and type(config) not in transformers.MODEL_FOR_CAUSAL_LM_MAPPING:
            raise ModelError(f"{folder} holds a {config.model_type}, neither an image-text-to-text nor a causal model")
        kind: Any = transformers.AutoModelForImageTextToText if sees else transformers.AutoModelForCausalLM
        placed = placement(config, place, dtype=dtype, device_map=device_map)
        reader = transformers.AutoProcessor if sees else transformers.AutoTokenizer
        processor = reader.from_pretrained(folder, **trusting)  # before the weights: a missing one shows soon
        if sees and not hasattr(processor, "image_processor"):
            raise ModelError(f"{folder} has no processor of images; bring its preprocessor_config.json")
        network, report = kind.from_pretrained(
            folder,
            config=config,
            use_safetensors=True,
            weights_only=True,
            output_loading_info=True,
            **placed,
            **trusting,
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        raise ModelError(_reason(error, folder)) from error
    if report["missing_keys"]:
        first = min(report["missing_keys"])
        raise ModelError(f"the weights in {folder} lack {len(report['missing_keys'])} tensors, such as {first}")
    tokenizer = processor.tokenizer if sees else processor
    network = network if "device_map" in placed else network.to(place)
    return Loaded(network.eval(), tokenizer, processor if sees else None)


def _reason(error: Exception, folder: Path) -> str:
    """Say why transformers cannot load a folder, and what to do about it."""
    import transformers

    reason = " ".join(str(error).split())
    if isinstance(error, ImportError):
        return f"{folder} needs a package that is not installed: {reason}; see also pip install 'kosmos-eval[hf]'"
    if "trust_remote_code" in reason:
        return (
            f"{folder} brings code of its own, which is never run; take a model that transformers has itself, or serve "
            "it (vLLM) and name it by openai:MODEL@URL"
        )
    return f"transformers {transformers.__version__} cannot load {folder}: {reason[:500]}"


def placement(config: PreTrainedConfig, place: torch.device, *, dtype: str, device_map: str | None) -> Json:
    """Return the arguments that tell transformers the type and place of the weights.

    Raises:
        ModelError: if an option is invalid.
    """
    dtype = _ALSO.get(dtype, dtype)
    if dtype not in (*DTYPES, *QUANTISED):
        raise UnknownName("dtype", dtype, (*DTYPES, *QUANTISED))
    if device_map is not None and device_map not in DEVICE_MAPS:
        raise UnknownName("device_map", device_map, DEVICE_MAPS)
    if device_map is not None and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ModelError("device_map spreads a model over the GPUs of one process; start it without torchrun")
    told: dict[str, object] = {"dtype": "float32" if dtype == "auto" and place.type == "cpu" else dtype}
    if dtype in QUANTISED:
        if find_spec("bitsandbytes") is None:
            raise ModelError(f"dtype {dtype} is made by bitsandbytes, which is not installed; pip install bitsandbytes")
        import torch
        from transformers import BitsAndBytesConfig

        bits = BitsAndBytesConfig(**QUANTISED[dtype], bnb_4bit_compute_dtype=torch.bfloat16)
        told = {"dtype": "bfloat16", "quantization_config": bits}
    if device_map is not None:
        told["device_map"] = device_map
    elif dtype in QUANTISED or getattr(config, "quantization_config", None) is not None:
        told["device_map"] = {"": str(place)}  # what is quantised while it is loaded cannot be moved afterwards
    return told


def left_out(network: PreTrainedModel) -> list[str]:
    """Return a note on the settings of ``generation_config.json`` that would change a text, and are not applied.

    A request says how its text is decoded, and the same for every model. KOSMOS-2's ``no_repeat_ngram_size=3``, which
    its demo needs, would also forbid to answer as a demonstration does, since transformers counts the prompt in.
    """
    given = network.generation_config.to_diff_dict()
    settings = ", ".join(f"{name}={given[name]}" for name in _DECODING if given.get(name))
    return [f"decodes as the tasks ask, without generation_config.json's {settings}"] if settings else []


def digest(folder: Path, *settings: str) -> str:
    """Return a Sha256 over the content of every file that decides the answers, and over the settings that do."""
    total = hashlib.sha256("\0".join(settings).encode())
    for path in sorted({*weight_files(folder), *(file for kind in _DECIDES for file in folder.glob(kind))}):
        with path.open("rb") as file:
            total.update(
                f"{path.relative_to(folder).as_posix()}:{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode()
            )
    return total.hexdigest()


def weights_digest(network: PreTrainedModel) -> str:
    """Return a Sha256 over configuration and weights of a network in memory."""
    import torch

    total = hashlib.sha256(network.config.to_json_string().encode())
    for name, weight in sorted(network.named_parameters()):
        total.update(f"{name} {weight.dtype} ".encode())
        total.update(weight.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()
