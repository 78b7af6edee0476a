"""Losses shared out over causes: once, in order, and never more than was evaluated; then the document and the gate."""

from __future__ import annotations

import json
from array import array
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends import open_engine, parse_target
from backends.base import Evidence, Facts
from harness.cli.explain_run import explanation_of
from harness.replay import Plan, replay
from harness.session_maker.generator import fewest_turns, generate
from profiler.causes.base import Case, Cause, Step
from profiler.check import Thresholds, check_run
from profiler.explanation import ExplainDocument
from profiler.findings import Findings, charges_of, find
from profiler.records import CacheVerdict, Machine, Reply, RequestRecord, RunInfo, Stamps
from profiler.rendered import Rendered
from profiler.store import RunWriter, read_prompts, read_run


def case(prompt: int, cached: int, lcp: int, prev: int) -> Case:
    engine_side = max(0, min(lcp, prompt - 1) - cached)
    verdict = CacheVerdict(
        "partial", prompt, cached, "x", lcp, prev, True, max(0, prev - lcp), engine_side, None, None, "observed"
    )
    evidence = Evidence(prompt_tokens=prompt, cached_tokens=cached, evaluated_tokens=prompt - cached)
    record = RequestRecord(1, "s", "c", 1, 0, "rehearse", "none", 0, Stamps(sent_ns=0), evidence, Reply(), verdict)
    return Case(Facts("x"), Step(record, {}, Rendered("", array("i"))), None, None)


def spans(of: Case, *causes: Cause) -> dict[str, list[tuple[int, int]]]:
    return {
        c.cause.code: [(loss.depth_tokens, loss.tokens) for loss in c.losses]
        for c in charges_of(of.step.record.verdict, causes, None)
    }


def test_a_changed_value_is_charged_with_everything_behind_it() -> None:
    assert spans(case(1100, 10, 10, 1000), Cause("P1", "observed", "", (), token=10)) == {"P1": [(10, 989)]}


def test_what_was_taken_out_is_not_charged() -> None:
    # 150 of the 250 tokens behind the divergence are reasoning that the new prompt no longer holds.
    stripped = Cause("P9", "observed", "", (), token=750, shrunk_tokens=150)
    assert spans(case(1000, 750, 750, 1000), stripped) == {"P9": [(750, 99)]}


def test_two_changes_share_the_loss_where_the_second_begins() -> None:
    causes = (Cause("P9", "observed", "", (), token=600, shrunk_tokens=50), Cause("P1", "observed", "", (), token=10))
    assert spans(case(1100, 10, 10, 1000), *causes) == {"P1": [(10, 590)], "P9": [(600, 349)]}


def test_engine_and_prompt_side_of_one_request_do_not_overlap() -> None:
    causes = (Cause("P1", "observed", "", (), token=400), Cause("E2", "observed", "", ()))
    assert spans(case(1100, 100, 400, 1000), *causes) == {"P1": [(400, 599)], "E2": [(100, 300)]}


def test_a_cause_of_a_known_part_leaves_the_rest_to_the_other() -> None:
    causes = (Cause("E15", "observed", "", (), tokens=12), Cause("E2", "observed", "", ()))
    assert spans(case(1000, 100, 900, 900), *causes) == {"E2": [(100, 788)], "E15": [(888, 12)]}


TOKENS = st.integers(1, 5000)


@given(TOKENS, TOKENS, TOKENS, TOKENS, st.lists(st.tuples(TOKENS, st.integers(-3000, 3000)), max_size=5))
def test_charges_never_exceed_what_was_evaluated(
    prompt: int, cached: int, lcp: int, prev: int, changes: list[tuple[int, int]]
) -> None:
    lcp = min(lcp, prompt, prev)
    cached = min(cached, lcp, prompt - 1)
    causes = [Cause("P1", "observed", "", (), token=token, shrunk_tokens=shrunk) for token, shrunk in changes]
    charges = charges_of(
        case(prompt, cached, lcp, prev).step.record.verdict, [*causes, Cause("E2", "observed", "", ())], None
    )
    ranges = sorted((loss.depth_tokens, loss.depth_tokens + loss.tokens) for c in charges for loss in c.losses)
    assert all(loss.tokens > 0 for c in charges for loss in c.losses)
    assert sum(c.tokens for c in charges) <= prompt - cached
    assert all(a[1] <= b[0] for a, b in pairwise(ranges))
    assert all(cached <= start and end <= prompt for start, end in ranges)


@pytest.fixture(scope="module")
def run_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the scripted engine, whose tokens cost a constant 100 µs: clean, prompt-side and engine-side losses."""
    kinds = ("append-only", "clock-in-system-prompt", "reasoning-dropped", "title-call")
    sessions = tuple(
        generate(kind, seed=seed, turns=fewest_turns(kind) + 3, scale=0.5) for seed, kind in enumerate(kinds)
    )
    engine = open_engine(parse_target("scripted:"))
    machine = Machine("test", None, 2, None, None)
    info = RunInfo("r1", "test", 0, "scripted:", engine.facts(), machine, {}, {})
    writer = RunWriter.create(tmp_path_factory.mktemp("runs"), info, clock=lambda: 1)
    for record, kept in replay(engine, Plan(sessions)):
        writer.request(record, kept.body, kept.rendered)
    writer.close("complete")
    return writer.path


def found(path: Path) -> Findings:
    return find(path, read_run(path))


def test_every_loss_of_a_run_is_found_and_named(run_path: Path) -> None:
    by_session = {
        (finding.record.session, charge.cause.code)
        for finding in found(run_path).findings
        for charge in finding.charges
    }
    assert by_session == {("clock-in-system-prompt", "P1"), ("reasoning-dropped", "P9"), ("title-call", "E1")}


def test_prices_are_the_engines_own(run_path: Path) -> None:
    findings = found(run_path)
    assert findings.price is not None
    assert findings.price.s == pytest.approx(sum(t.tokens for t in findings.totals) * 100e-6, rel=0.01)
    assert findings.price.s == pytest.approx(sum(t.price.s for t in findings.totals if t.price), rel=1e-6)


def test_prompts_are_stored_as_they_were_rendered(run_path: Path) -> None:
    records = {record.request_id: record for record in read_run(run_path).requests}
    prompts = dict(read_prompts(run_path))
    assert prompts.keys() == records.keys()
    for request_id, rendered in prompts.items():
        assert len(rendered.token_ids) == records[request_id].verdict.prompt_tokens


def test_the_document_adds_up(run_path: Path) -> None:
    document = explanation_of(run_path, worst=-1)
    assert document.lost_tokens == sum(row.tokens for row in document.causes)
    assert document.losing_requests == len(document.worst) == sum(bool(row.causes) for row in document.worst)
    assert document.explained_share == 1
    assert document.priced_by == "engine"
    assert {code for fix in document.fixes for code in fix.codes} == {"P1", "P9", "E1"}
    back = msgspec.json.decode(msgspec.json.encode(document), type=ExplainDocument)
    assert back == document


def test_the_worst_are_one_of_each_kind(run_path: Path) -> None:
    document = explanation_of(run_path, worst=99)
    assert len({(row.session, row.conversation, row.causes[0].code) for row in document.worst}) == len(document.worst)
    assert sum(1 + row.alike for row in document.worst) == document.losing_requests


def test_one_session_can_be_asked_for(run_path: Path) -> None:
    document = explanation_of(run_path, sessions=["append-only"])
    assert document.losing_requests == 0
    assert document.causes == ()


def test_the_gate_passes_a_clean_session_and_fails_another(run_path: Path) -> None:
    def checked(session: str, thresholds: Thresholds) -> tuple[bool, dict[str, float | None]]:
        records = [r for r in read_run(run_path).requests if r.session == session]
        document = check_run(explanation_of(run_path, sessions=[session]), records, thresholds)
        return document.passed, {result.metric: result.value for result in document.results}

    passed, values = checked("append-only", Thresholds.of_percent(0, 99, 0))
    assert passed
    assert values == {"full_miss_rate": 0, "reuse_efficiency": pytest.approx(1, abs=0.01), "lost_s_per_dispatch": 0}
    passed, values = checked("clock-in-system-prompt", Thresholds.of_percent(5, None, 0.001))
    assert not passed
    assert values["full_miss_rate"] == 1.0
    assert (values["lost_s_per_dispatch"] or 0) > 0.01


def test_a_gate_without_figures_does_not_pass() -> None:
    document = ExplainDocument(
        1, "r", "t", "e", None, 3, 0, 0, None, None, None, None, None, 0, causes=(), worst=(), fixes=()
    )
    result = check_run(document, [], Thresholds.of_percent(None, None, None))
    assert not result.passed
    assert [r.value for r in result.results] == [None, None]


def test_thresholds_that_are_not_given_are_those_of_the_verdict() -> None:
    assert Thresholds.of_percent(None, None, None) == Thresholds(0.05, 0.95, None)
    assert Thresholds.of_percent(None, None, 2) == Thresholds(None, None, 2)
    assert json.loads(msgspec.json.encode(Thresholds.of_percent(10, None, None)))["max_full_miss_rate"] == 0.1
