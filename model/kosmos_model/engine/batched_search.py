"""Many searches at once: ready ones enter, finished ones leave, and beams are query rows that see their own ancestors.

Shapes: B rows, a search each, K beams of each, T slots of a row, V vocabulary, C candidates, N some searches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kosmos_eval.models.decoding import Candidate, Search, candidates
from kosmos_model.engine.decode_step import DecodeStep, KVCache
from kosmos_model.engine.prefill import Batch, Budget, out_of_memory
from kosmos_model.engine.token_tree import Ints, Tree
from kosmos_model.engine.tree_attention import taken
from kosmos_model.modeling.tokenizer import PAD

ROWS = 256  # beams that run at once, at most
COMPACT_BELOW = 0.75  # when fewer rows than this share still run, the others are taken out
SPARE = 8  # steps that there is room for when slots are copied
SHARED = 32  # so many slots that all see are attended to apart from those of each row


@dataclass
class _Rows:
    """The state of the searches that run: what they see, (B, K, T), their next positions, (B, 1), and their slots."""

    searches: list[Search | None]
    visible: Tensor
    positions: Tensor
    slots: KVCache

    def part(self, start: int, stop: int) -> _Rows:
        """Some of the rows, in the same memory."""
        slots = KVCache(self.slots.shared, self.slots.own[:, :, start:stop], self.visible.shape[2])
        return _Rows(self.searches[start:stop], self.visible[start:stop], self.positions[start:stop], slots)

    @property
    def sparse(self) -> bool:
        """True if most slots are seen by no beam; checked now and then."""
        used = self.visible.shape[2]
        return used % 16 < self.visible.shape[1] and 2 * int(self.visible.any(1).sum(1).max()) < used


class Decoding:
    """Searches of one width K that run together; they give each the text that it would have alone.

    Args:
        step: what computes the next states.
        tree: of the sequences that are continued.
        continued: the nodes where searches start, ascending.
        width: K.
        forbidden: ids that no text has.
        budget: its slots are looked at when searches enter.
    """

    def __init__(
        self, step: DecodeStep, tree: Tree, continued: Ints, *, width: int, forbidden: Tensor, budget: Budget
    ) -> None:
        self._step, self._tree, self._width = step, tree, width
        above_all = np.flatnonzero(tree.ends[: continued[0] + 1] > continued[-1])
        self._shared = above_all if len(above_all) >= SHARED else above_all[:0]
        self._forbidden, self._budget = forbidden, budget
        self._most = max(1, ROWS // width)
        self._longest = 0
        self._common: Tensor | None = None
        self._running: list[_Rows] = []  # the last one runs; memory had no room for the others beside it

    def run(self, batch: Batch, waiting: Sequence[tuple[int, Search]]) -> Iterator[Search]:
        """Let searches that continue nodes of a batch enter, as others leave; gives those that are over meanwhile."""
        waiting = sorted(waiting, key=lambda item: int(self._tree.depths[item[0]]))
        while waiting:
            room = self._room(int(self._tree.depths[waiting[-1][0]]) + 1)
            wanted = max(1, min(len(waiting), self._most // 4))
            if self._running and (len(self._running) > 1 or room < wanted):
                yield from self._advanced()
                continue
            entering = waiting[-max(1, room) :]
            try:
                over = self._entered(batch, np.array([node for node, _ in entering]), [one for _, one in entering])
            except RuntimeError as error:
                if (len(entering) == 1 and not self._running) or not out_of_memory(error):
                    raise
                self._most = max(1, len(entering) // 2)
                continue
            del waiting[-len(entering) :]
            yield from over

    def finish(self) -> Iterator[Search]:
        """Run all searches to their ends."""
        while self._running:
            yield from self._advanced()

    def _room(self, length: int) -> int:
        """Return the number of searches after sequences of a length that may enter."""
        rows = self._running[-1] if self._running else None
        slots = max(length - len(self._shared), rows.slots.used if rows else 0) + SPARE * self._width
        return min(self._most, self._budget.slots // slots) - (len(rows.searches) if rows else 0)

    def _entered(self, batch: Batch, nodes: Ints, searches: Sequence[Search]) -> list[Search]:
        """Let searches take their first step and run on; gives those that are over with it."""
        best = candidates(self._step.layers.logits(batch.of(nodes))[:, None], searches, forbidden=self._forbidden)
        rows = self._rows(batch, nodes, searches)
        if self._running:
            rows = _joined(self._running[-1], rows)
        first = len(rows.searches) - len(searches)  # nothing is changed before memory has sufficed
        self._longest = max(self._longest, int(self._tree.depths[nodes].max()) + 1)
        going = [bool(search.advance(found)) for search, found in zip(searches, best, strict=True)]
        rows.searches[first:] = [search if goes else None for search, goes in zip(searches, going, strict=True)]
        self._running[-1:] = [rows]
        self._clear()
        return [search for search, goes in zip(searches, going, strict=True) if not goes]

    def _rows(self, batch: Batch, nodes: Ints, searches: Sequence[Search]) -> _Rows:
        """Rows with a copy of what only they see of the slots that a batch kept."""
        lengths = self._tree.depths[nodes] + 1 - len(self._shared)
        above = (batch.kept <= nodes[:, None]) & (nodes[:, None] < self._tree.ends[batch.kept])  # (N, kept)
        common = np.isin(batch.kept, self._shared)
        above &= ~common
        if common.sum() < len(self._shared) or not np.array_equal(above.sum(1), lengths):
            raise ValueError("the slots of these nodes were not kept")
        used = int(lengths.max())
        filled = np.arange(used) < lengths[:, None]
        table = np.zeros((len(nodes), used), dtype=np.int64)
        table[filled] = np.nonzero(above)[1]
        device, (heads, size) = batch.states.device, batch.slots[0][0].shape[1:]
        place, visible = torch.from_numpy(table).to(device), torch.from_numpy(filled).to(device)
        if self._common is None:
            ours = torch.from_numpy(common).to(device)
            kept = [torch.stack([slots[ours] for slots in layer]) for layer in batch.slots]
            self._common = torch.stack(kept).transpose(2, 3).contiguous()
        own = batch.states.new_empty(len(batch.slots), 2, len(nodes), heads, used + SPARE * self._width, size)
        for number, layer in enumerate(batch.slots):
            for part, slots in enumerate(layer):
                own[number, part, :, :, :used] = taken(slots, place).transpose(1, 2)
        positions = torch.from_numpy(self._tree.depths[nodes] + 1)[:, None].to(device)
        seen = visible[:, None].expand(-1, self._width, -1)
        return _Rows([*searches], seen, positions, KVCache(self._common, own, used))

    def _advanced(self) -> list[Search]:
        """Take a step; gives the searches that are over with it."""
        rows = self._running[-1]
        try:
            found, visible = self._scored(rows)
        except RuntimeError as error:
            if len(rows.searches) == 1 or not out_of_memory(error):
                raise
            half = self._most = len(rows.searches) // 2
            parts = rows.part(half, len(rows.searches)), rows.part(0, half)
            self._running[-1:] = [part for part in parts if any(part.searches)]
            return []
        over: list[Search] = []
        parents: list[list[int]] = []
        for row, (search, best) in enumerate(zip(rows.searches, found, strict=True)):
            parents.append(search.advance(best) if search else [])
            if search and not parents[-1]:
                over.append(search)
                rows.searches[row] = None
        self._longest += 1
        rows.positions = rows.positions + 1
        rows.visible = visible if self._width == 1 else _descended(visible, parents)
        self._clear()
        return over

    def _clear(self) -> None:
        """Take out rows whose searches are over, and slots that nothing sees, where they are many."""
        rows = self._running[-1]
        kept = [row for row, search in enumerate(rows.searches) if search]
        if not kept:
            self._running.pop()
        elif len(kept) <= COMPACT_BELOW * len(rows.searches) or (self._width > 1 and rows.sparse):
            self._running[-1] = _thinned(rows, kept, spare=SPARE * self._width)

    def _scored(self, rows: _Rows) -> tuple[list[list[Candidate]], Tensor]:
        """Feed each beam's last token: the candidates after it, and what the tokens saw, (B, K, T)."""
        device, width = rows.visible.device, self._width
        tokens = [
            [*(beam.tokens[-1] for beam in search.beams), *[PAD] * (width - len(search.beams))]
            if search
            else [PAD] * width
            for search in rows.searches
        ]
        own = torch.eye(width, dtype=torch.bool, device=device).expand(len(tokens), -1, -1)
        visible = torch.cat([rows.visible, own], dim=2)
        states = self._step(
            torch.tensor(tokens, device=device),
            positions=rows.positions,
            longest=self._longest + 1,
            visible=visible,
            slots=rows.slots,
        )
        return candidates(self._step.layers.logits(states), rows.searches, forbidden=self._forbidden), visible


def _descended(visible: Tensor, parents: Sequence[Sequence[int]]) -> Tensor:
    """Return the slots that new beams see, (B, K, T): those of the beams that they continue."""
    width = visible.shape[1]
    parent = torch.tensor([[*beams, *[0] * (width - len(beams))] for beams in parents], device=visible.device)
    return visible.gather(1, parent[..., None].expand(-1, -1, visible.shape[2]))


def _joined(rows: _Rows, entered: _Rows) -> _Rows:
    """Both, the finished ones of those that ran taken out."""
    kept = [row for row, search in enumerate(rows.searches) if search]
    rows = _thinned(rows, kept, spare=0)
    slots = rows.slots.joined(entered.slots, spare=SPARE * rows.visible.shape[1])
    seen = [torch.nn.functional.pad(one.visible, (0, slots.used - one.visible.shape[2])) for one in (rows, entered)]
    positions = torch.cat([rows.positions, entered.positions])
    return _Rows([*rows.searches, *entered.searches], torch.cat(seen), positions, slots)


def _thinned(rows: _Rows, kept: Sequence[int], *, spare: int) -> _Rows:
    """Some rows, without the slots that none of their beams sees."""
    row = torch.tensor(kept, device=rows.visible.device)
    visible = rows.visible[row]
    seen = visible.any(1)  # (B, T)
    slots = torch.argsort((~seen).byte(), dim=1, stable=True)[:, : int(seen.sum(1).max())]
    visible = visible.gather(2, slots[:, None].expand(-1, visible.shape[1], -1))
    searches = [rows.searches[index] for index in kept]
    return _Rows(searches, visible, rows.positions[row], rows.slots.select(row, slots, spare=spare))
