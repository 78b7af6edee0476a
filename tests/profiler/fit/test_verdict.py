"""The answers, in their order, with the sums that lead to them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.fit.base import Allowance, MemoryPrediction, Part, Place
from profiler.fit.verdict import STEP_TOKENS, arithmetic, judge_fit, needed_bytes

MIB = 1 << 20
CELL_BYTES = {"f16": 4096, "q8_0": 2176}


def predict(kv: str, context_tokens: int, place: Place = "host") -> MemoryPrediction:
    """100 MiB of weights (mapped from the file on a host), and a cache."""
    on_host = place == "host"
    return MemoryPrediction(
        (
            Part("weights", 100 * MIB, place, "engine plan", "100 MiB", reclaimable=on_host),
            Part("kv_cache", CELL_BYTES[kv] * context_tokens, place, "engine plan", f"{context_tokens} cells"),
            Part("prompt_cache", 8192 * MIB, "host", "table", "8 GiB", at_most=True),
        )
    )


def on_gpu(kv: str, context_tokens: int) -> MemoryPrediction:
    return predict(kv, context_tokens, "device")


def host(mib: int) -> Allowance:
    return Allowance(mib * MIB, None, "a test")


def test_it_fits() -> None:
    verdict = judge_fit(predict, host(228), kv="f16", context_tokens=32768)
    assert (verdict.answer, verdict.kv, verdict.context_tokens) == ("fits", None, None)
    assert verdict.text == "fits: 228 MiB of 228 MiB on the host; may grow by 8.0 GiB"


def test_weights_in_the_file_must_have_room_too() -> None:
    assert judge_fit(predict, host(227), kv="f16", context_tokens=32768, smaller_kv=None).answer != "fits"


def test_a_smaller_cache_type_is_tried_first() -> None:
    verdict = judge_fit(predict, host(200), kv="f16", context_tokens=32768)
    assert (verdict.answer, verdict.kv) == ("fits_with_smaller_kv", "q8_0")
    assert verdict.text.startswith("fits with q8_0 KV: 168 MiB of 200 MiB")


def test_then_a_smaller_context() -> None:
    verdict = judge_fit(predict, host(120), kv="f16", context_tokens=32768)
    assert (verdict.answer, verdict.context_tokens) == ("fits_with_less_context", 5120)
    assert verdict.text.startswith("fits with context ≤ 5120: 120 MiB of 120 MiB")


def test_a_context_that_is_no_use_is_no_answer() -> None:
    assert judge_fit(predict, host(107), kv="f16", context_tokens=32768).answer == "does_not_fit"
    assert judge_fit(predict, host(108), kv="f16", context_tokens=32768).context_tokens == 2048


def test_what_is_too_much_for_the_gpu_spills() -> None:
    small_gpu = Allowance(300 * MIB, 64 * MIB, "a test")
    verdict = judge_fit(on_gpu, small_gpu, kv="f16", context_tokens=32768)
    assert verdict.answer == "spills"
    assert verdict.text.startswith("spills: 164 MiB of it must stay on the host")
    assert (
        judge_fit(on_gpu, Allowance(100 * MIB, 64 * MIB, ""), kv="f16", context_tokens=32768).answer == "does_not_fit"
    )


def test_a_shared_memory_is_not_counted_twice() -> None:
    enough = Allowance(228 * MIB, 228 * MIB, "", unified=True)
    assert judge_fit(on_gpu, enough, kv="f16", context_tokens=32768).answer == "fits"
    shared = Allowance(227 * MIB, 64 * MIB, "", unified=True)
    assert judge_fit(on_gpu, shared, kv="f16", context_tokens=32768).answer == "does_not_fit"


def test_no_yes_without_a_cache() -> None:
    def weights_alone(_kv: str, _context: int) -> MemoryPrediction:
        return MemoryPrediction((Part("weights", 100 * MIB, "host", "formula", ""),), ("the cache",))

    assert (
        judge_fit(weights_alone, host(500), kv="f16", context_tokens=4096).text == "cannot tell, not known: the cache"
    )
    assert judge_fit(weights_alone, host(50), kv="f16", context_tokens=4096).answer == "does_not_fit"


def test_idle_pages_need_no_room() -> None:
    parts = (
        Part("weights", 100 * MIB, "host", "engine plan", "repacked"),
        Part("weights", 100 * MIB, "host", "engine plan", "", reclaimable=True, idle=True),
        Part("weights", 7 * MIB, "host", "engine plan", "", reclaimable=True),
    )
    assert needed_bytes(MemoryPrediction(parts)) == 107 * MIB


def test_the_arithmetic_has_a_line_for_each_part() -> None:
    lines = arithmetic(MemoryPrediction(predict("f16", 1024).parts, ("x",)), host(228))
    assert lines == (
        "host weights: 100 MiB [engine plan, reclaimable] 100 MiB",
        "host kv cache: 4.0 MiB [engine plan] 1024 cells",
        "host prompt cache: ≤ 8.0 GiB [table, grows with use] 8 GiB",
        "not counted: x",
        "needed: 104 MiB of 228 MiB on the host; may grow by 8.0 GiB",
        "there is: a test",
    )


@given(mib=st.integers(100, 260), context=st.integers(2048, 32768))
def test_the_context_found_is_the_largest_that_fits(mib: int, context: int) -> None:
    verdict = judge_fit(predict, host(mib), kv="f16", context_tokens=context, smaller_kv=None)
    found = verdict.context_tokens
    if found is None:
        return
    assert found % STEP_TOKENS == 0
    assert 2048 <= found < context
    assert (
        needed_bytes(predict("f16", found))
        <= mib * MIB
        < needed_bytes(predict("f16", min(context, found + STEP_TOKENS)))
    )


@pytest.mark.parametrize(("power", "questions"), [(1, 8), (3, 24)])
def test_few_questions_are_asked(power: int, questions: int) -> None:
    asked: list[int] = []

    def counting(_kv: str, context_tokens: int) -> MemoryPrediction:
        asked.append(context_tokens)
        size = int(4096 * context_tokens * (context_tokens / 5000) ** (power - 1))
        parts = (Part("weights", 1, "host", "formula", ""), Part("kv_cache", size, "host", "formula", ""))
        return MemoryPrediction(parts)

    verdict = judge_fit(counting, host(20), kv="f16", context_tokens=1 << 20)
    assert verdict.context_tokens is not None
    assert verdict.context_tokens % STEP_TOKENS == 0
    assert len(asked) <= questions
