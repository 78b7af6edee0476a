"""Figures of a dispatch, counted by hand on transcripts of the real loop."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from harness.detectors.metrics import metrics_of
from tests.harness.agent.agent_world import calling, failing
from tests.harness.detectors.ending_examples import external_in_the_dark
from tests.harness.detectors.loop_examples import in_text
from tests.harness.detectors.played import EDIT, READ, SUBMIT, TEST, act, played, say

WRONG = ("edit", {"path": "app.py", "old": "return 41", "new": "return 43"})
RIGHT = ("edit", {"path": "app.py", "old": "return 43", "new": "return 42"})
OFF = {"calls": {"max_format_errors": 9}}


def test_a_dispatch_that_corrects_itself(tmp_path: Path) -> None:
    steps = (READ, ("read", {"path": "none.py"}), ("read", {"path": "util.py"}), WRONG, TEST, READ, RIGHT, TEST, SUBMIT)
    metrics = metrics_of(played(tmp_path, *map(act, steps)))
    expected = {
        "turns": 9,
        "calls": 9,
        "call_validity_rate": 1.0,
        "calls_failed": 2,
        "calls_to_first_edit": 4,
        "loads": 4,
        "edits": 2,
        "load_to_act": 2.0,
        "verify_runs": 2,
        "verify_runs_after_last_edit": 1,
        "verify_passes_after_last_edit": 1,
        "failed_calls": 2,
        "self_corrections": 2,
        "self_correction_rate": 1.0,
        "edit_churn_lines": 1,
        "claimed_done": 1,
        "verified_pass": 1,
        "redundant_read_bytes": 0,
        "time_claim_log2": None,
    }
    assert {name: metrics[name] for name in expected} == expected
    assert metrics["tool_ns"] == 9 * 1_000_000


def test_what_is_read_twice_without_a_change_is_redundant(tmp_path: Path) -> None:
    case = played(tmp_path, act(READ), act(READ), act(EDIT), act(READ), act(SUBMIT))
    shown = case.calls[0][1].result_bytes
    assert shown > 0
    assert metrics_of(case)["redundant_read_bytes"] == shown


def test_malformed_calls_by_kind(tmp_path: Path) -> None:
    bad = [calling(("read", "{")), calling(("reed", {})), calling(("read", {"path": 3}))]
    parser = failing("EngineFault", "HTTP 500: Failed to parse input at pos 3")
    metrics = metrics_of(played(tmp_path, *bad, parser, act(EDIT), act(SUBMIT), setting=OFF))
    assert metrics["calls_malformed"] == 4
    assert metrics["call_validity_rate"] == pytest.approx(2 / 6)
    kinds = ("unparsable_args", "unknown_tool", "schema_violation", "server_parse_error")
    assert [metrics[f"calls_{kind}"] for kind in kinds] == [1, 1, 1, 1]
    assert metrics["calls_truncated_call"] == 0


def test_a_rescued_call_is_valid(tmp_path: Path) -> None:
    metrics = metrics_of(in_text(tmp_path, rescue=True))
    assert (metrics["calls_rescued"], metrics["calls_malformed"]) == (1, 0)


def test_the_same_call_again_is_no_correction(tmp_path: Path) -> None:
    """It succeeds because the file is there now, and a file was changed between: that is one."""
    missing, made = ("read", {"path": "docs/a.md"}), ("write", {"path": "docs/a.md", "content": "x\n"})
    flaky = ("bash", {"command": "test -e x || { touch x; exit 1; }"})
    assert metrics_of(played(tmp_path / "a", *map(act, (missing, made, missing, SUBMIT))))["self_corrections"] == 1
    (tmp_path / "b").mkdir()
    metrics = metrics_of(played(tmp_path / "b", *map(act, (flaky, flaky, SUBMIT))))
    assert (metrics["failed_calls"], metrics["self_corrections"]) == (1, 0)


@pytest.mark.parametrize(
    ("verified", "text", "cell"),
    [
        ("pass", "It is fixed.", (1, 1)),
        ("fail", "It is fixed.", (1, 0)),
        ("pass", "I could not do it.", (0, 1)),
        ("partial", "Here is what I saw.", (0, 0)),
        ("not_run", "It is fixed.", (1, None)),
    ],
)
def test_claimed_and_verified(tmp_path: Path, verified: str, text: str, cell: tuple[int, int | None]) -> None:
    metrics = metrics_of(played(tmp_path, act(EDIT), say(text), verified=verified))
    assert (metrics["claimed_done"], metrics["verified_pass"]) == cell


def test_nothing_was_done(tmp_path: Path) -> None:
    metrics = metrics_of(played(tmp_path, say("I leave everything as it is."), verified="fail"))
    nothing = ("call_validity_rate", "calls_to_first_edit", "load_to_act", "self_correction_rate")
    assert [metrics[name] for name in nothing] == [None] * 4
    assert (metrics["edits"], metrics["edit_churn_lines"], metrics["tool_ns"]) == (0, 0, 0)
    assert metrics["verify_runs_after_last_edit"] is None


def test_what_was_not_seen_is_not_known(tmp_path: Path) -> None:
    metrics = metrics_of(external_in_the_dark(tmp_path))
    assert metrics["edit_churn_lines"] is None
    assert metrics["verify_passes_after_last_edit"] is None


def test_the_time_that_is_claimed(tmp_path: Path) -> None:
    case = played(tmp_path, act(EDIT), say("The work took 4 minutes."), wall_s=60.0)
    assert metrics_of(case)["time_claim_log2"] == pytest.approx(2.0)
    unknown = msgspec.structs.replace(case, wall_ns=0)
    assert metrics_of(unknown)["time_claim_log2"] is None
