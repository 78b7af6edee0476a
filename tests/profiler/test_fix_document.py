"""Predicted beside measured, from records made by hand; and how it is shown."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import msgspec
import pytest

from profiler.fix_document import FixDocument, FixRun, LeverRow, Measured, Predicted, Remaining, compare, priced
from profiler.pricing import Loss, PrefillModel
from profiler.records import Failure, RequestRecord
from profiler.report.fix import print_fix
from tests.profiler.test_summary import SECOND, request
from tests.schema_file import check_schema_file

SCHEMA_FILE = Path(__file__).parents[2] / "docs" / "fix.schema.json"
MODEL = PrefillModel(0.0, 1e6, 0.0, ((1e8, 0.0), (0.0, 0.0)), 10, "engine")
"""A millisecond a token, give or take."""


def test_schema_file_is_current() -> None:
    check_schema_file("fix", FixDocument)


def record(turn: int, evaluated: int | None, prefill_s: float | None = None, **further: Any) -> RequestRecord:
    made = request(1000, None if evaluated is None else 1000 - evaluated, turn=turn, **further)
    ns = None if prefill_s is None else round(prefill_s * SECOND)
    return msgspec.structs.replace(made, evidence=msgspec.structs.replace(made.evidence, prefill_ns=ns))


def key(turn: int) -> tuple[str, int, int]:
    return "clean", 0, turn


def test_tokens_and_seconds_are_summed_over_the_requests_that_both_have() -> None:
    before = [record(1, 500, 0.5), record(2, 900, 0.9), record(3, 900, 0.9)]
    after = [record(1, 500, 0.6), record(2, 100, 0.1)]
    predicted = {key(2): (Loss(0, 850),), key(3): (Loss(0, 850),)}
    got = compare(before, after, predicted, MODEL, doubtful=1)
    assert (got.requests, got.failed, got.doubtful) == (2, 0, 1)
    assert (got.before_tokens, got.after_tokens, got.saved_tokens) == (1400, 600, 800)
    assert got.predicted_tokens == 850
    assert got.predicted_s == pytest.approx(0.85)
    assert got.saved_s == pytest.approx(0.7)
    assert got.ratio_tokens == pytest.approx(800 / 850)
    assert got.ratio_s == pytest.approx(0.7 / 0.85)
    assert got.clock == "engine"


def test_a_request_that_failed_on_one_side_is_left_out_on_both() -> None:
    failed = msgspec.structs.replace(record(2, 0, 0.0), error=Failure("EngineFault", "no"))
    got = compare([record(1, 500, 0.5), record(2, 900, 0.9)], [record(1, 400, 0.4), failed], {}, MODEL)
    assert (got.requests, got.failed, got.saved_tokens) == (1, 1, 100)


def test_unknown_is_not_zero() -> None:
    got = compare([record(1, None)], [record(1, None)], {key(1): (Loss(0, 5),)}, None)
    assert (got.before_tokens, got.saved_tokens, got.ratio_tokens, got.predicted_s) == (None, None, None, None)
    assert (got.clock, got.saved_s) == ("ttft", 0.0)
    nothing = compare([], [], {}, None)
    assert (nothing.requests, nothing.saved_tokens, nothing.saved_s, nothing.clock) == (0, None, None, None)


def test_seconds_of_two_clocks_are_never_mixed() -> None:
    got = compare([record(1, 500, 0.5), record(2, 500)], [record(1, 400, 0.4), record(2, 400, 0.4)], {}, MODEL)
    assert got.clock == "ttft"


@pytest.mark.parametrize("tokens", [1000, -1000])
def test_what_comes_on_top_is_priced_below_zero_with_its_interval(tokens: int) -> None:
    seconds, low, high = priced(MODEL, (Loss(0, tokens),))
    assert seconds == pytest.approx(tokens / 1000)
    assert low is not None
    assert high is not None
    assert seconds is not None
    assert low < seconds < high
    assert high - seconds == pytest.approx(seconds - low)


def row(number: int, measured: Measured | None, **further: Any) -> LeverRow:
    predicted = Predicted(850, 0.85, 0.8, 0.9, "charge", "")
    values: dict[str, Any] = {
        "number": number, "codes": ("P1",), "text": f"Do {number}.", "where": "agent", "also": "Also.", "options": {},
        "parameters": {}, "rewrite": "freeze_system", "sessions": ("clean",), "chosen": True, "reason": "",
        "predicted": predicted, "measured": measured,
    }  # fmt: skip
    return LeverRow(**(values | further))


def shown(*rows: LeverRow, total: Measured | None = None, **further: Any) -> str:
    values: dict[str, Any] = {
        "schema": 1, "run": "r1", "target": "scripted:", "engine": "scripted", "build": None,
        "applied": total is not None, "status": "complete", "baseline": "again" if total else None,
        "priced_by": "engine", "levers": rows, "total": total, "untestable": (), "runs": (FixRun((1,), "r2"),),
    }  # fmt: skip
    out = io.StringIO()
    print_fix(FixDocument(**(values | further)), Path("runs"), json_output=False, out=out)
    return " ".join(out.getvalue().split())


SAVED = compare([record(1, 900, 0.9)], [record(1, 100, 0.1)], {key(1): (Loss(0, 850),)}, MODEL)
LOST = compare([record(1, 100, 0.1)], [record(1, 900, 0.9)], {key(1): (Loss(0, 850),)}, MODEL)


def test_the_verdict_comes_first() -> None:
    assert shown(row(1, SAVED), total=SAVED).startswith(
        "SAVED the lever saved 800 ms of 850 ms predicted, 800 of 850 tokens"
    )
    assert shown(row(1, None)).startswith("PREDICTED the lever would save 850 ms of prefill, 850 tokens")
    assert shown().startswith("NOTHING TO SET")
    lost = shown(row(1, LOST), total=LOST)
    assert lost.startswith("NO HELP the lever saved nothing: −800 ms of 850 ms predicted, -800 of 850 tokens")
    assert "It did not help." in lost


def test_what_remains_and_what_is_doubtful_is_said() -> None:
    doubtful = msgspec.structs.replace(SAVED, doubtful=1, failed=2, remaining=(Remaining("E2", "stolen", 70, 0.1),))
    text = shown(row(1, doubtful), total=doubtful)
    assert "800 ms*" in text
    assert "1 of 1 requests were measured on a disturbed machine" in text
    assert "2 requests failed" in text
    assert "what remains: E2 stolen (70 tokens)" in text


def test_a_lever_that_loses_elsewhere_or_is_not_set_is_said() -> None:
    simulated = Predicted(850, 0.85, 0.8, 0.9, "simulation", "", {"other": -40, "better": 5})
    left = row(2, None, chosen=False, reason="predicted to save nothing", options={"slots": "4"}, rewrite=None)
    text = shown(row(1, None, predicted=simulated), left)
    assert "predicted to lose 40 tokens in other" in text
    assert "better" not in text
    assert "≤ 850" in shown(row(1, None, predicted=msgspec.structs.replace(simulated, how="upper_bound")))
    assert "lever 2 (slots=4) is not set: predicted to save nothing. Do 2." in text
