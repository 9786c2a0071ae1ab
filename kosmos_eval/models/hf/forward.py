"""The forward passes of a transformers model: a batch of prompts once, then any texts that follow them.

Tokens are fed one step at a time by our own search (`decoding.generate`), not by transformers' ``generate``: in a
padded batch that one gives KOSMOS-2 other positions than alone, and under beams several images of a prompt another
order.

Shapes: B prompts, L tokens of the longest, R rows that follow, S tokens of a row, V vocabulary.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from kosmos_eval.models.hf.prompts import Encoded

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from transformers import Cache, PreTrainedModel

ROOM = 16
"""Tokens that there is room for behind a prompt before its cache has to be moved."""


@dataclass(frozen=True)
class State:
    """The sequences that were read, a row for each.

    Args:
        cache: keys and values, a transformers ``Cache``.
        mask: (B, L) which of its places are tokens rather than padding.
        position: (B,) the position of the next token.
        logits: (B, S, V) for the last tokens that were fed; after `Engine.read` S is 1.
    """

    cache: Cache
    mask: Tensor
    position: Tensor
    logits: Tensor

    @property
    def length(self) -> int:
        """L, padding included."""
        return int(self.mask.shape[1])


@dataclass(frozen=True)
class Engine:
    """A network and how to feed it.

    Args:
        network: reads prompts with images.
        text_model: reads text alone, on the same cache; the network itself for most models.
        device: where both are.
        origin: the position of the first token.
    """

    network: PreTrainedModel
    text_model: nn.Module
    device: torch.device
    origin: int

    @classmethod
    def of(cls, network: PreTrainedModel) -> Engine:
        """Make the engine of a network."""
        if network.config.model_type == "kosmos-2":
            # It refuses to run without pixels, and counts positions from after its padding token's id.
            return cls(
                network,
                network.get_submodule("text_model"),
                network.device,
                network.config.text_config.pad_token_id + 1,
            )
        return cls(network, network, network.device, 0)

    def read(self, prompts: Sequence[Encoded], *, after: State | None = None) -> State:
        """Read a batch of prompts.

        Args:
            prompts: all with the same kinds of inputs.
            after: a state of one row that all of them follow; it is kept.
        """
        import torch

        longest = max(len(prompt.ids) for prompt in prompts)
        ids = torch.tensor([[0] * (longest - len(p.ids)) + list(p.ids) for p in prompts])
        mask = torch.tensor([[0] * (longest - len(p.ids)) + [1] * len(p.ids) for p in prompts])
        inputs: dict[str, Tensor] = {"input_ids": ids, "attention_mask": mask}
        for name in prompts[0].tokenwise:
            rows = [torch.nn.functional.pad(p.tokenwise[name], (longest - len(p.ids), 0)) for p in prompts]
            inputs[name] = torch.cat(rows)
        inputs |= {name: _concatenated([p.pixels[name] for p in prompts]) for name in prompts[0].pixels}
        inputs = {name: value.to(self.device) for name, value in inputs.items()}
        network = self.network if prompts[0].pixels else self.text_model
        positions, cache = self._positions(inputs), None
        if after is not None:
            positions = positions + (after.position - self.origin)
            inputs["attention_mask"] = torch.cat([after.mask.expand(len(prompts), -1), inputs["attention_mask"]], dim=1)
            cache = select_rows(after.cache, torch.zeros_like(inputs["input_ids"][:, 0]), room=longest + ROOM)
        with torch.inference_mode():
            made = network(
                **inputs, position_ids=positions, past_key_values=cache, use_cache=True, **_last_only(network)
            )
        following = positions.amax(dim=(0, 2) if positions.ndim == 3 else 1) + 1
        return State(made.past_key_values, inputs["attention_mask"], following, made.logits[:, -1:])

    def follow(self, state: State, rows: Sequence[int], texts: Sequence[Sequence[int]], *, keep: bool = False) -> State:
        """Read R texts on after rows of a state.

        Args:
            state: what was read; used up unless it is kept.
            rows: for each text the row of the state that it follows.
            texts: token ids, each at least one.
            keep: whether the state will be followed again.

        Returns:
            The state after them, logits (R, S, V) with text r's in its first ``len(texts[r])`` places.
        """
        import torch

        chosen = torch.tensor(rows, device=self.device)
        longest = max(map(len, texts))
        same = list(rows) == list(range(len(state.mask)))
        reused = same and not keep and has_room(state.cache)
        cache = state.cache if reused else select_rows(state.cache, chosen, room=longest + ROOM * (not keep))
        ids = torch.tensor([[*text, *[0] * (longest - len(text))] for text in texts], device=self.device)
        new = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in texts], device=self.device)
        mask = torch.cat([state.mask[chosen], new], dim=1)
        positions = state.position[chosen, None] + torch.arange(longest, device=self.device)
        fed = positions.expand(3, -1, -1) if self._rope_index else positions
        with torch.inference_mode():
            made = self.text_model(
                input_ids=ids, attention_mask=mask, position_ids=fed, past_key_values=cache, use_cache=True
            )
        return State(made.past_key_values, mask, state.position[chosen] + new.sum(1), made.logits)

    @property
    def _rope_index(self) -> Callable[..., Sequence[Tensor]] | None:
        return getattr(getattr(self.network, "model", None), "get_rope_index", None)

    def _positions(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """(B, L), or (3, B, L) for models whose images have positions in time, height and width."""
        index = self._rope_index
        if index and "pixel_values" in inputs:
            known = inspect.signature(index).parameters
            return index(**{name: value for name, value in inputs.items() if name in known})[0]
        flat = (inputs["attention_mask"].cumsum(1) - 1 + self.origin).clamp(min=self.origin)
        return flat.expand(3, -1, -1) if index else flat


def _concatenated(values: Sequence[Tensor]) -> Tensor:
    """Concatenate along the first axis, the others padded with zeros to the largest."""
    import torch

    sizes = [max(axis) for axis in zip(*(value.shape[1:] for value in values), strict=True)]
    padded = []
    for value in values:
        missing = [size - have for size, have in zip(sizes, value.shape[1:], strict=True)]
        padded.append(torch.nn.functional.pad(value, [edge for gap in reversed(missing) for edge in (0, gap)]))
    return torch.cat(padded)


def _last_only(network: nn.Module) -> dict[str, int]:
    return {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(network.forward).parameters else {}


def select_rows(cache: Cache, rows: Tensor, *, room: int) -> Cache:
    """Copy some rows of a cache.

    Args:
        cache: a transformers ``Cache``, left as it is.
        rows: which, repeats allowed.
        room: for so many tokens more there is memory without another copy, where its layers keep all tokens.
    """
    if not keeps_all_tokens(cache):
        chosen = copy.deepcopy(cache)
        chosen.batch_select_indices(rows)
        return chosen
    chosen = copy.copy(cache)
    chosen.layers = [_roomy_layer()(layer, rows, room) for layer in cache.layers]
    return chosen


def has_room(cache: Cache) -> bool:
    """True if the cache is written in place, or has layers of a kind that cannot be written in place."""
    return not keeps_all_tokens(cache) or all(type(layer) is _roomy_layer() for layer in cache.layers)


def keeps_all_tokens(cache: Cache) -> bool:
    """True if every layer of a cache keeps all tokens; one with a window counts padding among the latest."""
    from transformers.cache_utils import DynamicLayer

    layers = getattr(cache, "layers", ())
    return bool(layers) and all(
        type(layer) in (DynamicLayer, _roomy_layer()) and layer.is_initialized for layer in layers
    )


@cache
def _roomy_layer() -> type[Any]:
    from transformers.cache_utils import DynamicLayer

    class RoomyLayer(DynamicLayer):  # type: ignore[misc]
        """Keys and values (B, H, T, d) that are the beginning of larger tensors."""

        keys: Tensor
        values: Tensor

        def __init__(self, layer: Any, rows: Tensor, room: int) -> None:
            super().__init__()
            self.lazy_initialization(layer.keys, layer.values)
            self._move(layer.keys, layer.values, rows, room)

        def update(self, key_states: Tensor, value_states: Tensor, *_: object, **__: object) -> tuple[Tensor, Tensor]:
            start = self.keys.shape[2]
            stop = start + key_states.shape[2]
            if stop > self._space[0].shape[2]:
                self._move(self.keys, self.values, None, max(stop - start, 16, start // 4))
            for space, new in zip(self._space, (key_states, value_states), strict=True):
                space[:, :, start:stop] = new
            self.keys, self.values = (space[:, :, :stop] for space in self._space)
            return self.keys, self.values

        def _move(self, keys: Tensor, values: Tensor, rows: Tensor | None, room: int) -> None:
            def moved(old: Tensor) -> Tensor:
                count, heads, used, width = old.shape
                space = old.new_empty(count if rows is None else len(rows), heads, used + room, width)
                space[:, :, :used] = old if rows is None or count == 1 else old[rows]
                return space

            self._space = moved(keys), moved(values)
            self.keys, self.values = (space[:, :, : keys.shape[2]] for space in self._space)

    return RoomyLayer
