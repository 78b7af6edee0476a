"""How a run opens: what is measured before the first session, and that a silent server is judged from its times."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from backends import open_engine, parse_target
from backends.base import Engine, EngineFault, JsonObject, Request
from backends.scripted import Options, Scripted
from harness.opening import DENSER, FREE_CONTEXT_TOKENS, Opening, longest_prompt_tokens, open_run
from harness.replay import Plan, replay
from harness.session_maker.generator import fewest_turns, generate
from harness.sessions import Session, Turn
from profiler.calibration import calibration_of
from profiler.ledger import Ledger
from profiler.probe import probe
from profiler.records import RequestRecord
from profiler.summary import summarise
from tests.harness.silent_engine import Silent
from tests.harness.test_replay import Unrendered
from tests.profiler.test_summary import INFO

TINY = Path(__file__).parents[2] / "profiles" / "models" / "tiny" / "tiny-f16.gguf"
TURNS = 14


def plan(*kinds: str, turns: int = TURNS, scale: float = 0.1) -> Plan:
    return Plan(tuple(generate(kind, seed=7 + n, turns=turns, scale=scale) for n, kind in enumerate(kinds)))


def opened(engine: Engine, of: Plan, *, calibrate: bool = True) -> tuple[Opening, Ledger]:
    ledger = Ledger()
    return open_run(engine, of, ledger, nonce="n", calibrate=calibrate), ledger


def test_a_server_that_reports_is_only_probed() -> None:
    opening, _ = opened(Scripted(Options()), plan("append-only"))
    assert opening.probe.cached == "reported"
    assert opening.calibration is None


def test_a_silent_one_is_calibrated_unless_that_is_switched_off() -> None:
    silent = Options(report="none")
    assert opened(Scripted(silent), plan("append-only"), calibrate=False)[0].calibration is None
    record = opened(Scripted(silent), plan("append-only"))[0].calibration
    assert record is not None
    assert record.fit is not None


def test_progress_is_told_before_each_prompt() -> None:
    told: list[tuple[int, int, int]] = []
    open_run(
        Scripted(Options(report="none")),
        plan("append-only"),
        Ledger(),
        nonce="n",
        calibrate=True,
        on_calibration=lambda *what: told.append(what),
    )
    total = len(told)
    assert [(number, of) for number, of, _ in told] == [(n, total) for n in range(1, total + 1)]


def test_ctrl_c_in_the_calibration_ends_the_request_and_goes_through() -> None:
    engine = Scripted(Options(report="none"))

    def interrupt(number: int, *_: int) -> None:
        if number == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_run(engine, plan("append-only"), Ledger(), nonce="n", calibrate=True, on_calibration=interrupt)
    assert opened(engine, plan("append-only"))[0].calibration is not None


def test_a_failing_engine_is_one_error() -> None:
    engine = Scripted(Options())
    engine.close()
    with pytest.raises(EngineFault, match="failed on the probe, the first request of a run"):
        opened(engine, plan("append-only"))


@pytest.mark.parametrize("kind", ["append-only", "compaction", "tools-reordered"])
def test_the_longest_prompt_is_calibrated_for(kind: str) -> None:
    engine = Scripted(Options())
    made = plan(kind)
    found = probe(engine, Ledger(), "n")
    longest = max(len(engine.render(Request(t.messages, t.tools)).token_ids) for t in made.sessions[0].turns)
    estimate = longest_prompt_tokens(made, found, None)
    assert longest / 1.1 < estimate < 2 * longest
    assert longest_prompt_tokens(made, found, 500) == 500 - FREE_CONTEXT_TOKENS
    assert longest_prompt_tokens(made, found, 10) == 1
    assert DENSER >= 1


def judged(engine: Engine, of: Plan) -> tuple[Opening, list[RequestRecord]]:
    opening, ledger = opened(engine, of)
    calibration = calibration_of(opening.calibration)
    return opening, [record for record, _ in replay(engine, of, ledger=ledger, calibration=calibration)]


@pytest.mark.parametrize("kind", ["append-only", "clock-in-system-prompt", "tools-reordered"])
def test_what_a_silent_simulation_reused_is_found_from_its_times(kind: str) -> None:
    """The same sessions on a simulation that says it: every count lies in its interval."""
    made = plan(kind, scale=0.3)
    opening, records = judged(Scripted(Options(report="none")), made)
    truth = [record for record, _ in replay(Scripted(Options()), made)]
    assert len(records) == len(truth) == TURNS
    for record, told in zip(records, truth, strict=True):
        verdict = record.verdict
        cached = told.verdict.cached_tokens
        assert cached is not None
        assert verdict.cached_tokens is None
        if verdict.cached_low_tokens is None or verdict.cached_high_tokens is None:
            assert verdict.note is not None
            assert verdict.note.startswith("not reported (")
            continue
        assert verdict.cached_source == "ttft_inferred"
        assert verdict.cached_low_tokens <= cached <= verdict.cached_high_tokens
        assert verdict.cache_class in ("unknown", told.verdict.cache_class)
    found = sum(record.verdict.cached_low_tokens is not None for record in records)
    assert found >= 3, "the times of a simulation are clear enough for some"
    info = msgspec.structs.replace(INFO, probe=opening.probe, calibration=opening.calibration)
    document = summarise(info, records)
    low, high = document.verdict.reused_low, document.verdict.reused_high
    reuse = summarise(INFO, truth).verdict.reuse_efficiency
    assert document.verdict.judged_on == "reusable"
    assert (low or 0) <= (reuse or 0) <= (high or 0)
    assert document.verdict.stable is not False, "no text that stayed the same was lost"


@pytest.mark.parametrize(("kind", "stable"), [("append-only", (True, None)), ("clock-in-system-prompt", (False, None))])
def test_a_silent_server_without_prompts_is_judged_on_history(kind: str, stable: tuple[bool | None, ...]) -> None:
    engine = Unrendered(Options(report="none"))
    opening, records = judged(engine, plan(kind, scale=0.3))
    assert not opening.probe.prompts
    info = msgspec.structs.replace(INFO, probe=opening.probe, calibration=opening.calibration)
    document = summarise(info, records)
    assert document.verdict.judged_on == "history"
    assert document.verdict.stable in stable
    assert "inferred from the time to the first token" in document.verdict.reason
    assert "the prompts are not shown" in document.verdict.reason
    assert document.verdict.lost_s is None
    (row,) = document.sessions
    assert row.full_miss == 0, "how far it was lost is not known"
    assert row.history_reused is None
    assert 0 <= (row.history_reused_low or 0) < (row.history_reused_high or 0) <= 1


def test_the_probe_and_the_calibration_do_not_change_a_verdict() -> None:
    made = plan("append-only", "title-call", turns=max(8, fewest_turns("title-call")))
    engine = Scripted(Options(slots=2))
    _, records = judged(engine, made)
    alone = [record for record, _ in replay(Scripted(Options(slots=2)), made)]
    assert [r.verdict for r in records if r.turn] == [r.verdict for r in alone if r.turn]
    # The first request finds the template's head in the cache now.
    assert [r.verdict.cache_class for r in records] == [r.verdict.cache_class for r in alone]


def short_session() -> Session:
    """Four turns of up to about a thousand tokens."""
    turns: list[Turn] = []
    messages: tuple[JsonObject, ...] = ({"role": "system", "content": "You answer briefly. " * 30},)
    for number in range(4):
        reply = {"role": "assistant", "content": "Yes, that is so."}
        messages = (*messages, {"role": "user", "content": f"{number}: is this a question or not? " * 20})
        turns.append(Turn("main", messages, (), 16, {}, reply))
        messages = (*messages, reply)
    return Session("short", "short", None, None, None, tuple(turns))


@pytest.mark.engine
def test_a_real_server_with_its_counts_hidden_is_calibrated_and_inferred() -> None:
    pytest.importorskip("xllamacpp")
    inner = open_engine(parse_target(f"llama-server:{TINY}?ctx=4096&threads=1"))
    engine = Silent(inner)
    made = Plan((short_session(),))
    try:
        opening, ledger = opened(engine, made)
        assert opening.probe.cached == "not_reported"
        assert opening.probe.prompt_tokens.reported
        assert not opening.probe.prompts
        if not opening.probe.streams:
            pytest.skip("the machine is too busy to see the chunks come one by one")
        record = opening.calibration
        assert record is not None
        assert len(record.samples) >= 8
        assert max(engine.truth[2:], key=lambda cached: cached or 0) in range(17), "the prompts were cold"
        before = len(engine.truth)
        calibration = calibration_of(record)
        records = [r for r, _ in replay(engine, made, ledger=ledger, calibration=calibration)]
    finally:
        engine.close()
    truth = engine.truth[before + 1 :]  # the anchor comes first
    wrong = 0
    for r, cached in zip(records, truth, strict=True):
        assert r.error is None
        assert r.verdict.cached_tokens is None
        assert r.verdict.prev_tokens is None or r.verdict.continuation
        bounds = r.verdict.cached_bounds_tokens
        assert (r.verdict.cached_source == "ttft_inferred") == (bounds is not None)
        wrong += bounds is not None and not bounds[0] <= (cached or 0) <= bounds[1]
    # The machine may be busy, and 95 % are not all: that the figures are right is tested on the simulation.
    assert wrong <= len(records) // 2
