"""Every failure mode is seen where it is, and only there: real agents' transcripts, and any transcript at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.detectors import DETECTORS, detect
from harness.detectors.base import Case, Change
from harness.detectors.catalogue import CATALOGUE, kind_of
from harness.detectors.metrics import metrics_of
from harness.settings import Setting
from harness.tasks.base import Harness, Task
from profiler.dispatch_records import Detection, DispatchStarted, Outcome, TurnRecord
from profiler.records import Failure
from tests.harness.detectors import ending_examples, limit_examples, loop_examples, rule_examples
from tests.harness.detectors.limit_examples import good
from tests.harness.detectors.played import Example, request

EXAMPLES = (
    *limit_examples.EXAMPLES,
    *loop_examples.EXAMPLES,
    *ending_examples.EXAMPLES,
    *rule_examples.EXAMPLES,
)


def seen(code: str, case: Case) -> Detection:
    (found,) = [detection for detection in detect(case) if detection.code == code]
    return found


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example.code}: {example.name}")
def test_an_example(example: Example, tmp_path: Path) -> None:
    found = [detection for detection in detect(example.case(tmp_path)) if detection.code == example.code]
    assert bool(found) == example.fires, found
    if example.certain is not None:
        assert found[0].certain is example.certain
        assert kind_of(example.code).certainty in ("either", "certain" if example.certain else "heuristic")
    for detection in found:
        assert detection.evidence
        assert "\n" not in detection.evidence
        assert detection.count >= 1


def test_every_failure_mode_has_both_examples() -> None:
    codes = [kind.code for kind in CATALOGUE]
    assert len(set(codes)) == len(codes)
    for fires in (True, False):
        shown = {example.code for example in EXAMPLES if example.fires is fires}
        assert set(codes) == shown, f"fires={fires}"


def test_the_order_is_that_of_the_catalogue() -> None:
    order = list(dict.fromkeys(kind.code.partition(".")[0] for kind in CATALOGUE))
    assert [detector.__name__ for detector in DETECTORS] == order


def test_a_good_dispatch_has_no_failure(tmp_path: Path) -> None:
    case = good(tmp_path)
    assert case.exit_status == "submitted"
    assert detect(case) == ()


def test_what_is_shown_is_where_it_happened(tmp_path: Path) -> None:
    loop = seen("tool_loop_same", loop_examples.again(tmp_path, 5))
    assert (loop.turn, loop.count) == (0, 5)
    assert "read" in loop.evidence


def test_faults_in_a_row_are_repeated(tmp_path: Path) -> None:
    bad = seen("malformed_tool_call.unknown_tool", loop_examples.malformed(tmp_path, ("reed", {}), times=3))
    assert bad.count == 3
    assert "repeated: 3 turns in a row" in bad.evidence


_TEXT = st.text(max_size=60) | st.sampled_from(
    [
        "All tests pass. I created a.py in 3 hours after 9999 iterations.",
        "I'll now run it. Good luck! It took 1,5 h; 3/3 tests pass.",
        '{"path": "a.py"}',
        "[" * 3000,
        "…" * 300 + "took 99999999 hours",
        "took half an hour\ud800",
    ]
)
_NAME = st.sampled_from(["read", "bash", "test", "submit", "wait", ""])
_CALL = st.fixed_dictionaries(
    {"call_id": st.just("c"), "name": _NAME, "arguments": _TEXT},
    optional={
        "effect": st.sampled_from(["load", "edit", "verify", "execute", "plan", "finish", "other"]),
        "fault": st.sampled_from(["unparsable_args", "schema_violation", "unknown_tool", "truncated_call"]),
        "origin": st.sampled_from(["native", "text"]),
        "ok": st.none() | st.booleans(),
        "exit_code": st.none() | st.integers(-9, 200),
        "timed_out": st.booleans(),
        "denied": st.booleans(),
        "result": _TEXT,
        "result_sha256": st.sampled_from(["", "a", "b"]),
        "result_bytes": st.integers(0, 100),
        "changed": st.lists(st.sampled_from(["a.py", "tests/t.py", "NOTES.md"]), max_size=2),
        "lines_added": st.integers(0, 9),
        "started_ns": st.none() | st.integers(0, 9),
        "ended_ns": st.none() | st.integers(0, 9),
    },
)
_TURN = st.fixed_dictionaries(
    {
        "dispatch_id": st.just("d"),
        "content": _TEXT,
        "reasoning": _TEXT,
        "calls": st.lists(_CALL, max_size=4),
        "stop_reason": st.sampled_from([None, "stop", "length"]),
        "request_id": st.none() | st.integers(0, 5),
        "started_ns": st.just(0),
        "ended_ns": st.just(1),
    },
    optional={
        "events": st.lists(st.sampled_from(["compacted: x", "server_parse_error: y", "retried"]), max_size=2),
        "error": st.sampled_from([None, Failure("EngineFault", "failed to parse"), Failure("ContextOverflow", "")]),
    },
)
_COUNT = st.none() | st.integers(0, 5000)
_PARTS = st.dictionaries(
    st.sampled_from(["visible_pass", "hidden_pass", "special_casing"]),
    st.none() | st.booleans() | st.floats(allow_nan=True) | st.text(max_size=3),
)
_CHANGE = st.builds(
    Change, st.sampled_from(["a.py", "tests/t.py", "NOTES.md", "b"]), st.none() | _TEXT, st.none() | _TEXT
)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any dispatch: whatever a model wrote, whatever of it was seen."""
    turns = [
        msgspec.convert({**turn, "turn": n}, TurnRecord) for n, turn in enumerate(draw(st.lists(_TURN, max_size=6)))
    ]
    records = [
        request(
            number,
            prompt=draw(_COUNT),
            generated=draw(_COUNT),
            cached_tokens=draw(_COUNT),
            evaluated_tokens=draw(_COUNT),
            truncated=draw(st.none() | st.booleans()),
        )
        for number in range(draw(st.integers(0, 4)))
    ]
    harness: dict[str, Any] = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "requires_changes": st.booleans(),
                "single_shot": st.booleans(),
                "protected": st.just(["tests/**"]),
                "allowed": st.just(["a.py"]),
                "placeholders": st.lists(st.text(max_size=3), max_size=2),
                "notes_file": st.just("NOTES.md"),
            },
        )
    )
    return Case(
        started=draw(st.sampled_from([_STARTED, msgspec.structs.replace(_STARTED, actor="external")])),
        task=Task("t", "p", 1, "t", Path(), msgspec.convert(harness, Harness)),
        setting=Setting(),
        turns=tuple(turns),
        requests=tuple(records),
        exit_status=draw(
            st.sampled_from(["submitted", "stopped", "limit_turns", "limit_wall", "stuck", "infra_fault"])
        ),
        final_message=draw(_TEXT),
        outcome=Outcome(
            draw(st.sampled_from(["pass", "partial", "fail", "not_run"])),
            draw(st.none() | st.floats(0, 1)),
            draw(_PARTS),
            valid=draw(st.booleans()),
        ),
        wall_ns=draw(st.sampled_from([0, 1, 10**9, 10**13])),
        changes=tuple(draw(st.lists(_CHANGE, max_size=3))),
        protected_changes=tuple(draw(st.lists(st.just("tests/t.py"), max_size=1))),
        rendered_tokens=draw(st.dictionaries(st.integers(0, 5), st.integers(0, 5000), max_size=3)),
        context_tokens=draw(_COUNT),
    )


_STARTED = msgspec.convert(
    {
        **dict.fromkeys(("dispatch_id", "task", "pack", "task_sha256", "setting", "setting_fingerprint", "agent"), "x"),
        "seed": 1,
        "levers": {},
        "actor": "model",
        "fidelity": "no_engine",
        "target": None,
        "sandbox": dict.fromkeys(
            ("writes_confined", "reads_confined", "network_closed", "processes_hidden", "processes_bounded",
             "files_bounded", "loopback"), True,
        ) | {"backend": "x"},
        "started_unix_ns": 0,
        "started_ns": 0,
    },
    DispatchStarted,
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases())
def test_no_transcript_breaks_a_detector(case: Case) -> None:
    found = detect(case)
    assert found == detect(case)
    assert all("\n" not in detection.evidence for detection in found)
    order = [kind.code for kind in CATALOGUE]
    assert [order.index(detection.code) for detection in found] == sorted(order.index(d.code) for d in found)
    metrics = metrics_of(case)
    assert list(metrics) == list(metrics_of(case))
    rate = metrics["call_validity_rate"]
    assert rate is None or 0 <= rate <= 1


def test_every_code_and_figure_is_in_the_document(tmp_path: Path) -> None:
    document = (Path(__file__).parents[3] / "docs" / "detectors.md").read_text(encoding="utf-8")
    for name in (*(kind.code for kind in CATALOGUE), *metrics_of(good(tmp_path))):
        assert f"`{name}`" in document, f"docs/detectors.md does not tell of {name}"
