"""Which positions of a sequence llama.cpp's memory still holds, for the three kinds of cache. No numbers, only places.

What counts for reuse is the oldest position that is still there (`llama_memory_seq_pos_min`): 0 with full attention,
the last one in a recurrent state, and with a sliding window whatever the small ring of cells has not overwritten. That
depends on where in the ring the sequences lie, so the ring is played cell by cell, as in llama.cpp's
`llama-kv-cache.cpp` (`find_slot`, `apply_ubatch`, `seq_rm`, `state_write`).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.int64]

NOTHING = -1
"""The oldest and the newest position of a sequence that holds nothing."""


class Memory(Protocol):
    """The memory of several sequences; positions count from 0, ranges end before `end`."""

    def oldest(self, sequence: int) -> int:
        """The oldest position held, `NOTHING` if there is none."""
        ...

    def evaluate(self, sequence: int, start: int, end: int, step: int) -> None:
        """Add positions, `step` of them at a time."""
        ...

    def cut(self, sequence: int, start: int) -> None:
        """Drop all positions from `start` on."""
        ...

    def saved(self, sequence: int) -> Positions:
        """What a copy of the parts that cannot be cut back would hold, in the order in which it is written."""
        ...

    def restore(self, sequence: int, positions: Positions) -> None:
        """Put such a copy in the place of what is there."""
        ...

    def shift(self, sequence: int, start: int, end: int, to: int) -> None:
        """Move the positions from `start` to `to`, which is before it; what lay between is dropped."""
        ...


class FullAttention:
    """Every position stays until it is cut, so there is nothing to play."""

    def oldest(self, sequence: int) -> int:
        """See `Memory`. A sequence that is asked for holds its start."""
        return 0

    def evaluate(self, sequence: int, start: int, end: int, step: int) -> None:
        """See `Memory`."""

    def cut(self, sequence: int, start: int) -> None:
        """See `Memory`."""

    def saved(self, sequence: int) -> Positions:
        """See `Memory`."""
        return np.empty(0, np.int64)

    def restore(self, sequence: int, positions: Positions) -> None:
        """See `Memory`."""

    def shift(self, sequence: int, start: int, end: int, to: int) -> None:
        """See `Memory`."""


class RecurrentState:
    """One state for each sequence, which stands at its last position."""

    def __init__(self, sequences: int) -> None:
        self._at = [NOTHING] * sequences

    def oldest(self, sequence: int) -> int:
        """See `Memory`."""
        return self._at[sequence]

    def evaluate(self, sequence: int, start: int, end: int, step: int) -> None:
        """See `Memory`."""
        if end > start:
            self._at[sequence] = end - 1

    def cut(self, sequence: int, start: int) -> None:
        """See `Memory`. A state that stands at or after `start` is lost as a whole."""
        if self._at[sequence] >= start:
            self._at[sequence] = NOTHING

    def saved(self, sequence: int) -> Positions:
        """See `Memory`."""
        at = self._at[sequence]
        return np.array([] if at == NOTHING else [at], np.int64)

    def restore(self, sequence: int, positions: Positions) -> None:
        """See `Memory`."""
        self._at[sequence] = int(positions[-1]) if len(positions) else NOTHING

    def shift(self, sequence: int, start: int, end: int, to: int) -> None:
        """See `Memory`. The state is given another position, though what went into it stays."""
        if start <= self._at[sequence] < end:
            self._at[sequence] -= start - to


class SlidingWindow:
    """Rings of cells: one that all sequences share, or one for each.

    A cell can be taken if it is empty, or if its position is out of the window of its own sequence's next token.
    Whatever is older than a position that was overwritten goes too, so a sequence holds one unbroken range.
    """

    def __init__(self, cells: int, window: int, sequences: int, *, shared: bool) -> None:
        rings = [_Ring(cells, window, sequences) for _ in range(1 if shared else sequences)]
        self._rings = rings * sequences if shared else rings

    def oldest(self, sequence: int) -> int:
        """See `Memory`."""
        return self._rings[sequence].oldest[sequence]

    def evaluate(self, sequence: int, start: int, end: int, step: int) -> None:
        """See `Memory`."""
        ring = self._rings[sequence]
        if step == 1:
            for position in range(start, end):
                ring.place_one(sequence, position)
            return
        for first in range(start, end, step):
            ring.place(sequence, np.arange(first, min(first + step, end)))

    def cut(self, sequence: int, start: int) -> None:
        """See `Memory`."""
        self._rings[sequence].cut(sequence, start)

    def saved(self, sequence: int) -> Positions:
        """See `Memory`. Positions outside the window of the newest are not written."""
        return self._rings[sequence].saved(sequence)

    def restore(self, sequence: int, positions: Positions) -> None:
        """See `Memory`."""
        ring = self._rings[sequence]
        ring.cut(sequence, 0)
        if len(positions):
            ring.place(sequence, positions)

    def shift(self, sequence: int, start: int, end: int, to: int) -> None:
        """See `Memory`."""
        self._rings[sequence].shift(sequence, start, end, to)


class _Ring:
    """Cells of one stream: whose each is (`NOTHING`: nobody's), and which position it holds."""

    def __init__(self, cells: int, window: int, sequences: int) -> None:
        self._owner = np.full(cells, NOTHING, np.int64)
        self._position = np.full(cells, NOTHING, np.int64)
        self._window = window
        self._cells = cells
        self._head = self._used = 0
        self.oldest = [NOTHING] * sequences
        self._newest = [NOTHING] * sequences

    def place(self, sequence: int, positions: Positions) -> None:
        """Put positions into the next cells that can be taken; there are always enough, by the size of the ring."""
        taken = self._free_from(self._start(len(positions)), len(positions))
        owners, old = self._owner[taken], self._position[taken]
        self._used += int(np.count_nonzero(owners == NOTHING))
        self._owner[taken] = sequence
        self._position[taken] = positions
        self._grow(sequence, int(positions.min()), int(positions.max()))
        for owner in set(owners[owners != NOTHING].tolist()):
            self._drop_until(owner, int(old[owners == owner].max()))
        self._head = int(taken[-1]) + 1

    def place_one(self, sequence: int, position: int) -> None:
        """`place` for one position, which decoding does for every token."""
        at = self._start(1)
        while True:
            at = at if at < self._cells else 0
            owner, old = int(self._owner[at]), int(self._position[at])
            if owner == NOTHING or old <= self._newest[owner] + 1 - self._window:
                break
            at += 1
        self._used += owner == NOTHING
        self._owner[at] = sequence
        self._position[at] = position
        self._grow(sequence, position, position)
        if owner != NOTHING:
            self._drop_until(owner, old)
        self._head = at + 1

    def cut(self, sequence: int, start: int) -> None:
        """Drop positions from `start` on; the search for cells then starts at the first that became free."""
        if start > self._newest[sequence]:
            return
        gone = np.flatnonzero((self._owner == sequence) & (self._position >= start))
        self._free(gone)
        self._head = min(self._head, int(gone[0]))
        self._newest[sequence] = start - 1
        if start <= self.oldest[sequence]:
            self.oldest[sequence] = self._newest[sequence] = NOTHING

    def saved(self, sequence: int) -> Positions:
        """Positions that the newest one sees, in the order of their cells."""
        seen = self._newest[sequence] - self._window
        positions: Positions = self._position[(self._owner == sequence) & (self._position > seen)]
        return positions

    def shift(self, sequence: int, start: int, end: int, to: int) -> None:
        """Drop what lies between, move the rest; the search for cells then starts at the first one."""
        own = self._owner == sequence
        self._free(np.flatnonzero(own & (self._position >= to) & (self._position < start)))
        self._position[own & (self._position >= start) & (self._position < end)] -= start - to
        left = self._position[self._owner == sequence]
        self.oldest[sequence], self._newest[sequence] = int(left.min()), int(left.max())
        self._head = 0

    def _free_from(self, start: int, count: int) -> Positions:
        """The first cells from `start` on, and then from the first, that can be taken."""
        ahead = self._owner[start : start + count]
        if len(ahead) == count and bool((ahead == NOTHING).all()):
            return np.arange(start, start + count)
        # The last position of each owner that a new token no longer sees.
        unseen = np.array(self._newest) + 1 - self._window
        free = np.flatnonzero((self._owner == NOTHING) | (self._position <= unseen[self._owner]))
        first = int(np.searchsorted(free, start))
        return np.concatenate((free[first:], free[:first]))[:count]

    def _start(self, count: int) -> int:
        return 0 if self._head > self._used + 2 * count else self._head

    def _grow(self, sequence: int, first: int, last: int) -> None:
        if self.oldest[sequence] == NOTHING:
            self.oldest[sequence] = first
        self._newest[sequence] = max(self._newest[sequence], last)

    def _drop_until(self, sequence: int, last: int) -> None:
        if last > self.oldest[sequence]:
            self._free(np.flatnonzero((self._owner == sequence) & (self._position <= last)))
        self.oldest[sequence] = last + 1
        if last >= self._newest[sequence]:
            self.oldest[sequence] = self._newest[sequence] = NOTHING

    def _free(self, cells: Positions) -> None:
        self._used -= len(cells)
        self._owner[cells] = NOTHING
        self._position[cells] = NOTHING
