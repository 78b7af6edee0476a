"""The ring of a sliding window against llama.cpp's own steps, cell by cell and without arrays."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from profiler.policies.llama_memory.cells import NOTHING, FullAttention, RecurrentState, SlidingWindow

CELLS, WINDOW, SEQUENCES, STEP = 24, 5, 2, 7


class PlainRing:
    """`find_slot`, `apply_ubatch` and `seq_rm` as they stand in llama-kv-cache.cpp, with a list of cells."""

    def __init__(self) -> None:
        self.cells: list[tuple[int, int] | None] = [None] * CELLS
        self.head = 0

    def positions(self, sequence: int) -> list[int]:
        return [cell[1] for cell in self.cells if cell is not None and cell[0] == sequence]

    def oldest(self, sequence: int) -> int:
        return min(self.positions(sequence), default=NOTHING)

    def place(self, sequence: int, positions: list[int]) -> None:
        head = self.head
        if head > sum(cell is not None for cell in self.cells) + 2 * len(positions):
            head = 0
        newest = [max(self.positions(s), default=NOTHING) for s in range(SEQUENCES)]
        taken: list[int] = []
        while len(taken) < len(positions):
            head = head if head < CELLS else 0
            cell = self.cells[head]
            if cell is None or newest[cell[0]] + 1 - cell[1] >= WINDOW:
                taken.append(head)
            head += 1
        removed: dict[int, int] = {}
        for at, position in zip(taken, positions, strict=True):
            cell = self.cells[at]
            if cell is not None:
                removed[cell[0]] = max(removed.get(cell[0], NOTHING), cell[1])
            self.cells[at] = (sequence, position)
        for owner, last in removed.items():
            self.cells = [None if c is not None and c[0] == owner and c[1] <= last else c for c in self.cells]
        self.head = taken[-1] + 1

    def cut(self, sequence: int, start: int) -> None:
        gone = [at for at, c in enumerate(self.cells) if c is not None and c[0] == sequence and c[1] >= start]
        for at in gone:
            self.cells[at] = None
        if gone:
            self.head = min(self.head, gone[0])

    def saved(self, sequence: int) -> list[int]:
        held = self.positions(sequence)
        return [position for position in held if max(held) - position < WINDOW]


DONE = st.sampled_from(["prompt", "decode", "cut", "save", "restore"])
STEPS = st.lists(st.tuples(st.integers(0, SEQUENCES - 1), DONE, st.floats(0, 1)), max_size=40)


@given(STEPS)
def test_a_shared_ring_is_played_as_llama_cpp_plays_it(steps: list[tuple[int, str, float]]) -> None:
    memory, plain = SlidingWindow(CELLS, WINDOW, SEQUENCES, shared=True), PlainRing()
    lengths, kept = [0] * SEQUENCES, [(0, [0])] * SEQUENCES
    for sequence, step, share in steps:
        length = lengths[sequence]
        if step in ("prompt", "decode"):
            end = length + 1 + int(share * 20)
            size = STEP if step == "prompt" else 1
            memory.evaluate(sequence, length, end, size)
            for first in range(length, end, size):
                plain.place(sequence, list(range(first, min(first + size, end))))
            lengths[sequence] = end
        elif step == "cut":
            # The engine cuts back only to where the next token's whole window is still there.
            start = 0 if share < 0.5 else max(length - int(share * 3), plain.oldest(sequence) + 1)
            memory.cut(sequence, start)
            plain.cut(sequence, start)
            lengths[sequence] = min(length, start)
        elif step == "save" and length:
            assert memory.saved(sequence).tolist() == plain.saved(sequence)
            kept[sequence] = (length, plain.saved(sequence))
        elif step == "restore" and kept[sequence][0]:
            lengths[sequence], positions = kept[sequence]
            memory.restore(sequence, np.array(positions))
            plain.cut(sequence, 0)
            plain.place(sequence, positions)
        assert [memory.oldest(s) for s in range(SEQUENCES)] == [plain.oldest(s) for s in range(SEQUENCES)]


def test_rings_of_their_own_do_not_touch_each_other() -> None:
    memory = SlidingWindow(CELLS, WINDOW, 2, shared=False)
    memory.evaluate(0, 0, 10, STEP)
    memory.evaluate(1, 0, 200, STEP)
    assert memory.oldest(0) == 0
    assert memory.oldest(1) > 150


def test_a_shared_ring_takes_the_places_that_the_other_no_longer_sees() -> None:
    memory = SlidingWindow(CELLS, WINDOW, 2, shared=True)
    memory.evaluate(0, 0, 10, STEP)
    memory.evaluate(1, 0, 200, STEP)
    assert memory.oldest(0) == 10 - WINDOW + 1


def test_a_recurrent_state_stands_at_its_end_and_is_lost_by_a_cut() -> None:
    memory = RecurrentState(1)
    assert memory.oldest(0) == NOTHING
    memory.evaluate(0, 0, 30, STEP)
    assert memory.oldest(0) == 29
    copy = memory.saved(0)
    memory.cut(0, 30)
    assert memory.oldest(0) == 29
    memory.cut(0, 29)
    assert memory.oldest(0) == NOTHING
    memory.restore(0, copy)
    assert memory.oldest(0) == 29


def test_full_attention_holds_its_start_whatever_happens() -> None:
    memory = FullAttention()
    memory.evaluate(0, 0, 30, STEP)
    memory.cut(0, 3)
    assert memory.oldest(0) == 0
