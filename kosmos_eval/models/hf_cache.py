"""A transformers cache that is written in place: its own layers copy everything they hold for each new token."""

from __future__ import annotations

import copy
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def rows_of(past: Any, rows: Tensor, *, room: int) -> Any:
    """A copy of some rows of a cache.

    Args:
        past: a transformers ``Cache``, left as it is.
        rows: which, repeats allowed.
        room: for so many tokens more there is memory without another copy, where its layers are plain ones.
    """
    if not plain(past):
        chosen = copy.deepcopy(past)
        chosen.batch_select_indices(rows)
        return chosen
    chosen = copy.copy(past)
    chosen.layers = [_roomy_layer()(layer, rows, room) for layer in past.layers]
    return chosen


def has_room(past: Any) -> bool:
    """Whether the cache is written in place, or has layers that cannot be."""
    return not plain(past) or all(type(layer) is _roomy_layer() for layer in past.layers)


def plain(past: Any) -> bool:
    """Whether every layer of a cache keeps all tokens; one with a window counts padding among the latest."""
    from transformers.cache_utils import DynamicLayer

    layers = getattr(past, "layers", ())
    return bool(layers) and all(
        type(layer) in (DynamicLayer, _roomy_layer()) and layer.is_initialized for layer in layers
    )


@cache
def _roomy_layer() -> Any:
    from transformers.cache_utils import DynamicLayer

    class RoomyLayer(DynamicLayer):  # type: ignore[misc]
        """Keys and values (B, H, T, d) that are the beginning of larger tensors."""

        keys: Any
        values: Any

        def __init__(self, layer: Any, rows: Tensor, room: int) -> None:
            super().__init__()
            self.lazy_initialization(layer.keys, layer.values)
            self._move(layer.keys, layer.values, rows, room)

        def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
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
