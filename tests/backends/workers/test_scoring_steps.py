from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from backends.workers.scoring_steps import MOST_BYTES, Step, steps


def test_four_chunks_of_512_go_side_by_side_as_in_llama_perplexity() -> None:
    plan = list(steps([512] * 6, 256, row_bytes=4096, batch=2048))
    assert plan == [Step((0, 1, 2, 3), 0, 512, 256), Step((4, 5), 0, 512, 256)]


def test_a_large_vocabulary_takes_one_chunk_at_a_time() -> None:
    plan = list(steps([512] * 2, 256, row_bytes=4 * 150_000, batch=2048))
    assert plan == [Step((0,), 0, 512, 256), Step((1,), 0, 512, 256)]


def test_a_chunk_beyond_the_bound_is_cut() -> None:
    plan = list(steps([10], 4, row_bytes=100, batch=2048, block_bytes=250))
    assert plan == [Step((0,), 0, 6, 2), Step((0,), 6, 8, 2), Step((0,), 8, 10, 2)]


def test_without_a_bound_a_chunk_is_whole_however_large() -> None:
    assert list(steps([10], 4, row_bytes=MOST_BYTES, batch=2048)) == [Step((0,), 0, 10, 6)]


@settings(max_examples=50)
@given(
    st.lists(st.integers(3, 40), max_size=8),
    st.integers(0, 2),
    st.integers(1, 100),
    st.one_of(st.none(), st.integers(1, 2000)),
    st.one_of(st.none(), st.just(1)),
)
def test_every_logit_comes_once_in_order_and_within_the_bound(
    lengths: list[int], first: int, batch: int, block_bytes: int | None, together: int | None
) -> None:
    reached: list[tuple[int, int]] = []
    evaluated = dict.fromkeys(range(len(lengths)), 0)
    plan = steps(lengths, first, row_bytes=10, batch=batch, together=together, block_bytes=block_bytes)
    for step in plan:
        assert block_bytes is None or step.rows * len(step.chunks) <= max(1, block_bytes // 10)
        assert together is None or len(step.chunks) == 1
        assert len(step.chunks) == 1 or len(step.chunks) * step.stop <= batch
        for chunk in step.chunks:
            assert evaluated[chunk] == step.start
            evaluated[chunk] = step.stop
            reached += [(chunk, at) for at in range(step.stop - step.rows, step.stop)]
    assert reached == [(chunk, at) for chunk, length in enumerate(lengths) for at in range(first, length)]
    assert evaluated == dict(enumerate(lengths))
