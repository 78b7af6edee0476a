"""The document of a dispatch: turns beside their requests, also of one that was killed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import msgspec
import pytest

from profiler.dispatch_document import DispatchDocument, dispatch_document
from profiler.dispatch_records import Outcome
from profiler.dispatch_store import StoredDispatch
from profiler.findings import Findings
from profiler.records import Failure
from profiler.report.dispatch import print_dispatch
from tests.profiler.dispatches import call, ended, request, started, turn
from tests.schema_file import check_schema_file

NOTHING = Findings((), (), None, None)
REQUESTS = [request(1), request(2)]
TURNS = [turn(0, call(), request_id=1), turn(1, call("edit", fault="schema_violation"), request_id=2)]


def document(*, killed: bool = False, **further: Any) -> DispatchDocument:
    end = None if killed else ended(REQUESTS, TURNS, **further)
    return dispatch_document("run-1", StoredDispatch(started(), tuple(TURNS), end), REQUESTS, NOTHING)


def printed(shown: DispatchDocument, *, json_output: bool = False) -> str:
    out = io.StringIO()
    print_dispatch(shown, Path("runs/run-1/dispatches/0001"), json_output=json_output, out=out)
    return out.getvalue()


def test_turns_stand_beside_their_requests() -> None:
    first, second = document().turns
    assert (first.cache_class, first.prompt_tokens, first.cached_tokens, first.lost_tokens) == ("partial", 100, 80, 10)
    assert first.ttft_s == pytest.approx(0.025)
    # The first of ten tokens ends prefill; nine in 30 ms follow.
    assert second.decode_tokens_per_s == pytest.approx(300)
    assert [row.fault for row in second.calls] == ["schema_violation"]


def test_a_killed_dispatch_has_its_turns_and_no_outcome() -> None:
    killed = document(killed=True)
    assert (killed.outcome, killed.exit_status, len(killed.turns)) == (None, None, 2)
    assert killed.totals.prompt_tokens == 200
    assert "KILLED" in printed(killed)


@pytest.mark.parametrize(
    ("outcome", "word"),
    [
        (Outcome("pass", 1.0), "PASS  score 1.00"),
        (Outcome("partial", 0.5), "PARTIAL  score 0.50"),
        (Outcome("fail", 0.0), "FAIL  score 0.00"),
        (Outcome("not_run"), "NOT VERIFIED"),
        (Outcome("not_run", valid=False), "NOT SCORED"),
    ],
)
def test_the_verdict_comes_first(outcome: Outcome, word: str) -> None:
    assert printed(document(outcome=outcome)).strip().startswith(word)


def test_a_fault_of_the_engine_is_said_not_to_count() -> None:
    text = printed(document(exit_status="infra_fault", error=Failure("EngineDied", "gone"), outcome=Outcome("not_run")))
    assert "does not count" in " ".join(text.split())


def test_what_the_model_wrote_is_no_markup() -> None:
    text = printed(document(outcome=Outcome("fail", 0.0, notes=("[bold]not bold[/bold] [/",))))
    assert "[bold]not bold[/bold] [/" in text


def test_json_is_the_document() -> None:
    shown = document()
    assert msgspec.json.decode(printed(shown, json_output=True), type=DispatchDocument) == shown


def test_its_schema_is_documented() -> None:
    check_schema_file("run", DispatchDocument)
