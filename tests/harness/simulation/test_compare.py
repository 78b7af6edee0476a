"""Settings beside each other: which loses least is worked out by hand, where no setting wins everywhere."""

from __future__ import annotations

from io import StringIO

import msgspec
import pytest
from rich.console import Console

from backends import open_engine
from backends.base import Target
from harness.sessions import Session
from harness.simulation.compare import Compared, Comparison, Simulated, agreement_of, saving
from harness.simulation.input import Workload, workload_of_sessions
from harness.simulation.requests import Ask
from harness.simulation.result import document_of
from harness.simulation.settings import Setting, settings_of
from profiler.pricing import PrefillModel
from profiler.report.simulate import print_simulation, render_simulation
from profiler.simulate_document import SettingRow, SimulateDocument
from tests.harness.cache_cases import branch, small_share, sub_agent

SIMILARITIES = ("0", "0.1", "0.5", "0.98")
NO_NOISE = ((0.0, 0.0), (0.0, 0.0))
LINEAR = PrefillModel(a_ns=0.0, b_ns=1e6, c_ns=0.0, covariance=NO_NOISE, samples=9, source="engine")
"""A millisecond a token."""


def workload(*sessions: Session) -> Workload:
    return workload_of_sessions(sessions, open_engine(Target("scripted")), "scripted")


def compared(
    *loads: Workload, asked: dict[str, tuple[str, ...]], engines: tuple[str, ...] = ("llama-server",)
) -> SimulateDocument:
    own = [(w.engine, w.own) for w in loads if w.engine is not None and w.own is not None]
    comparison = Comparison(loads, settings_of(engines, asked, own), tuple(asked))
    return document_of(comparison.compared(list(comparison.run())))


def evaluated(document: SimulateDocument) -> dict[str, int]:
    """Evaluated tokens by similarity; the defaults are 0.1."""
    return {row.options.get("slot_prompt_similarity", "0.1"): row.evaluated_tokens for row in document.settings}


def row_of(document: SimulateDocument, **options: str) -> SettingRow:
    return next(row for row in document.settings if row.options == options)


def report(document: SimulateDocument, width: int = 140) -> str:
    console = Console(file=StringIO(), width=width, highlight=False)
    console.print(render_simulation(document, width))
    out = console.file
    assert isinstance(out, StringIO)
    return out.getvalue()


def test_a_sub_agent_costs_the_default_a_thousand_tokens() -> None:
    """Experiments c, c2 and c3: with 0.5 main comes back from the host cache, with 0.98 the sub-agent starts cold."""
    document = compared(workload(sub_agent()), asked={"slot_prompt_similarity": SIMILARITIES})
    tokens = evaluated(document)
    assert min(tokens, key=lambda name: tokens[name]) == "0.5"
    assert 1030 <= tokens["0.1"] - tokens["0.5"] <= 1060
    assert 890 <= tokens["0.98"] - tokens["0.5"] <= 920
    assert document.verdict.outcome == "better"
    assert document.verdict.options == {"slot_prompt_similarity": "0.5"}
    assert document.verdict.against_defaults is not None
    assert document.verdict.against_defaults.tokens == tokens["0.1"] - tokens["0.5"]
    assert tokens["0.5"] - document.limit.evaluated_tokens <= 2


def test_a_branch_costs_those_that_keep_slots_apart() -> None:
    """Experiment c4: what 0.98 saves a sub-agent's parent, it takes from a branch of a long conversation."""
    tokens = evaluated(compared(workload(branch()), asked={"slot_prompt_similarity": SIMILARITIES}))
    assert tokens["0.1"] == tokens["0.5"] < tokens["0"] <= tokens["0.98"]
    assert tokens["0"] - tokens["0.1"] > 700


def test_no_setting_wins_everywhere() -> None:
    apart = [
        evaluated(compared(workload(s()), asked={"slot_prompt_similarity": SIMILARITIES}))
        for s in (sub_agent, small_share)
    ]
    assert min(apart[0], key=lambda name: apart[0][name]) == "0.5"
    assert min(apart[1], key=lambda name: apart[1][name]) == "0.1"
    document = compared(workload(sub_agent(), small_share()), asked={"slot_prompt_similarity": SIMILARITIES})
    (other,) = document.verdict.elsewhere
    assert other.session == "case-small-share"
    assert other.options == {}
    assert other.tokens == pytest.approx(900, abs=30)
    assert "no setting is best in every session" in report(document)


def test_settings_that_change_nothing_are_said_to() -> None:
    document = compared(workload(sub_agent()), asked={"ctx_checkpoints": ("0", "32"), "batch": ("512",)})
    assert document.verdict.outcome == "no_difference"
    assert {row.rank for row in document.settings} == {1}
    assert report(document).split("  ")[0].strip() == "NO DIFFERENCE"


def test_where_the_defaults_are_best_they_are_named() -> None:
    document = compared(workload(small_share()), asked={"slot_prompt_similarity": ("0.98",)})
    assert document.verdict.outcome == "defaults_best"
    assert document.settings[0].is_default
    assert "nothing beats defaults" in document.verdict.reason


def test_a_setting_that_refuses_requests_is_left_out() -> None:
    document = compared(workload(sub_agent()), asked={"slots": ("1", "4"), "ctx": ("4096",)})
    (left,) = document.left_out
    assert left.options == {"slots": "4", "ctx": "4096"}
    assert "2 of 3 requests" in left.reason
    assert "refused" in left.reason
    assert "left out: ctx=4096 slots=4" in report(document)
    assert all(row.options.get("slots") != "4" for row in document.settings)


def test_without_any_setting_left_nothing_is_told() -> None:
    document = compared(workload(sub_agent()), asked={"ctx": ("256",)}, engines=("llama-cpp",))
    assert document.settings[0].is_default
    alone = document_of(_without_defaults(workload(sub_agent())))
    assert alone.verdict.outcome == "unknown"
    assert "CANNOT TELL" in report(alone)


def _without_defaults(load: Workload) -> Compared:
    comparison = Comparison([load], [Setting("llama-cpp", {"ctx": "256"})])
    return comparison.compared(list(comparison.run()))


def test_engines_are_compared_by_name() -> None:
    document = compared(workload(sub_agent()), asked={"slots": ("1",)}, engines=("llama-server", "llama-cpp", "vllm"))
    assert {row.engine for row in document.settings} == {"llama-server", "llama-cpp", "vllm"}
    assert "vllm defaults" in report(document)
    vllm = next(row for row in document.settings if row.engine == "vllm")
    assert vllm.is_default
    assert vllm.saved is not None
    assert vllm.saved.tokens == 0


def own(load: Workload, off: int = 0, **options: str) -> Workload:
    """The workload as a run on a llama-server with these options, which reported what its policy says, or `off`."""
    run = msgspec.structs.replace(load, tokens="run", engine="llama-server", own=options, model=LINEAR, name="r1")
    (simulated,) = Comparison([run], [Setting("llama-server", dict(options))]).run()
    measured = [p.cached_tokens for p in simulated.predicted[0]]
    asks: list[Ask] = []
    for ask, cached in zip(run.asks, measured, strict=True):
        assert cached is not None
        asks.append(msgspec.structs.replace(ask, measured_tokens=cached + off, request_id=len(asks) + 1))
    return msgspec.structs.replace(run, asks=tuple(asks))


def test_a_runs_own_setting_is_marked_priced_and_checked() -> None:
    document = compared(own(workload(sub_agent()), slots="2"), asked={"slot_prompt_similarity": ("0.5",)})
    assert row_of(document, slots="2").is_own
    best = document.settings[0]
    assert best.options == {"slots": "2", "slot_prompt_similarity": "0.5"}, "what a run sets is kept"
    saved = document.verdict.against_own
    assert saved is not None
    assert saved.s == pytest.approx(saved.tokens / 1000)
    assert document.priced_by == "r1"
    agreement = document.workloads[0].agreement
    assert agreement is not None
    assert (agreement.compared, agreement.agreeing, agreement.exact, agreement.share) == (3, 3, 3, 1.0)
    shown = report(document)
    assert "3 of 3 requests predicted within a token (100 %; 3 exactly)" in shown
    assert "slots=2  (the run's own)" in shown
    assert "against the run's own setting: saves 1.0 s" in shown


def test_a_model_that_does_not_reproduce_the_run_says_so() -> None:
    document = compared(own(workload(sub_agent()), off=5), asked={"slots": ("1",)})
    agreement = document.workloads[0].agreement
    assert agreement is not None
    assert (agreement.agreeing, agreement.share) == (0, 0.0)
    assert [one.request_id for one in agreement.differing] == [1, 2, 3]
    assert "does not reproduce the run r1" in document.notes[-1]
    assert "request 2: predicted" in report(document)


def test_what_the_engine_did_not_say_is_not_compared() -> None:
    load = own(workload(sub_agent()))
    silent = msgspec.structs.replace(
        load, asks=tuple(msgspec.structs.replace(ask, measured_tokens=None) for ask in load.asks)
    )
    agreement = agreement_of(silent)
    assert agreement is not None
    assert agreement.share is None
    assert agreement.unknown == 3
    assert agreement.reason == "its engine does not say what it reused"
    assert agreement_of(workload(sub_agent())) is None


def test_a_setting_equal_to_the_runs_own_is_simulated_once() -> None:
    load = own(workload(sub_agent()), slots="1")
    comparison = Comparison(
        [load], settings_of(["llama-server"], {"slots": ("1", "2")}, [("llama-server", {"slots": "1"})])
    )
    assert [(s.options, s.is_own) for s in comparison.settings] == [
        ({}, False),
        ({"slots": "1"}, True),
        ({"slots": "2"}, False),
    ]


def test_savings_lie_at_the_depth_where_they_are() -> None:
    quadratic = msgspec.structs.replace(LINEAR, b_ns=0.0, c_ns=1.0)
    load = workload(sub_agent())
    low, high = Comparison(
        [load], [Setting("llama-server", {}), Setting("llama-server", {"slot_prompt_similarity": "0.5"})]
    ).run()
    tokens, share, price = saving(quadratic, low, high)
    assert tokens == _sum(low) - _sum(high)
    assert share == tokens / _sum(low)
    assert price is not None
    ends = [(a.depth_tokens, b.depth_tokens) for a, b in zip(low.evaluated, high.evaluated, strict=True)]
    assert price.s == pytest.approx(sum(b * b - a * a for a, b in ends) / 2 / 1e9)


def _sum(simulated: Simulated) -> int:
    return sum(loss.tokens for loss in simulated.evaluated)


def test_what_was_done_before_ctrl_c_is_a_document() -> None:
    comparison = Comparison([workload(sub_agent())], settings_of(["llama-server"], {}, []))
    first = [one for one, _ in zip(comparison.run(), range(3), strict=False)]
    document = document_of(comparison.compared(first), complete=False)
    assert len(document.settings) == 3
    assert not document.complete
    assert "interrupted" in report(document)


def test_requests_are_listed_with_the_reason() -> None:
    comparison = Comparison(
        [own(workload(sub_agent()))], settings_of(["llama-server"], {"slot_prompt_similarity": ("0.5",)}, [])
    )
    document = document_of(comparison.compared(list(comparison.run())), requests=True)
    assert len(document.requests) == 2 * 3, "the best setting and the defaults"
    assert all(row.why and row.cached_tokens is not None for row in document.requests)
    shown = report(document)
    assert "case-sub-agent/sub 2" in shown
    assert "host cache" in shown


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_report_fits_the_terminal(width: int) -> None:
    document = compared(workload(sub_agent()), asked={})
    assert max(map(len, report(document, width).splitlines())) <= width


def test_hostile_names_are_shown_as_they_are() -> None:
    named = msgspec.structs.replace(sub_agent(), name="[bold]x[/bold]")
    document = compared(workload(named, small_share()), asked={"slot_prompt_similarity": ("0.5",)})
    out = StringIO()
    print_simulation(document, json_output=False, out=out)
    assert "[bold]x[/bold]" in out.getvalue()
