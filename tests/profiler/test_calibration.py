"""Cold prompts of the wanted lengths, and which times must not be used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from backends.base import ContextOverflow, EngineDied, EngineError, EngineFault, Event, Evidence, Request
from backends.scripted import Options, Scripted
from profiler.calibration import (
    LOADED,
    calibration_of,
    cold_prompts,
    inferred_cached,
    is_silent,
    may_be_busy,
    record_of,
)
from profiler.inversion import Calibration, Interval, calibration_lengths
from profiler.ledger import Ledger
from profiler.measure import Measurement, measure
from profiler.probe import cold_request, probe
from profiler.probe_records import CalibrationRecord, ColdPrompt
from profiler.records import Failure

PREFILL_NS, OVERHEAD_NS = 100_000, 1_000_000
SHARED_HEAD_TOKENS = 16
"""What the template puts before the first word of a message, at most."""


class Odd(Scripted):
    """The simulation, silent, with something odd about its n-th request, counted from 0."""

    def __init__(self, at: int = -1, error: EngineError | None = None, log: tuple[str, ...] = ()) -> None:
        super().__init__(Options(report="none"))
        self._at, self._error, self._log = at, error, log
        self.requests = 0

    def stream(self, request: Request) -> Iterator[Event]:
        number, self.requests = self.requests, self.requests + 1
        for event in super().stream(request):
            if isinstance(event, Evidence) and number == self._at:
                event = msgspec.structs.replace(event, log=self._log)
            yield event
            if number == self._at and self._error is not None:
                raise self._error


def prompts_of(engine: Scripted, lengths: tuple[int, ...], ledger: Ledger | None = None) -> list[ColdPrompt]:
    ledger = ledger or Ledger()
    return list(cold_prompts(engine, ledger, probe(engine, ledger, "n"), lengths, "n"))


def test_the_prompts_are_cold_and_about_as_long_as_wanted() -> None:
    lengths = (100, 400, 1600)
    ledger = Ledger()
    prompts = prompts_of(Odd(), lengths, ledger)
    for prompt, wanted in zip(prompts, lengths, strict=True):
        assert wanted * 0.8 < prompt.prompt_tokens < wanted * 1.2
        evaluated = (prompt.ttft_ns - OVERHEAD_NS) / PREFILL_NS
        assert prompt.prompt_tokens - SHARED_HEAD_TOKENS <= evaluated <= prompt.prompt_tokens
    assert ledger.held_bytes > 4 * sum(prompt.prompt_tokens for prompt in prompts)


def test_the_simulations_prices_are_found() -> None:
    record = record_of(prompts_of(Odd(), calibration_lengths(2000)))
    fitted = calibration_of(record)
    assert fitted is not None
    assert fitted.per_token_ns == pytest.approx(PREFILL_NS, rel=0.01)
    stored = msgspec.json.decode(msgspec.json.encode(record), type=CalibrationRecord)
    assert stored == record
    assert calibration_of(stored) == fitted


def test_too_few_prompts_give_no_fit() -> None:
    record = record_of([ColdPrompt(100, 11_000_000)])
    assert record.fit is None
    assert len(record.samples) == 1
    assert calibration_of(record) is calibration_of(None) is None


def test_each_is_announced_before_it_is_sent() -> None:
    engine, announced = Odd(), list[tuple[int, int, int]]()
    found = probe(engine, Ledger(), "n")
    for _ in cold_prompts(engine, Ledger(), found, (64, 128), "n", on_request=lambda *what: announced.append(what)):
        assert len(announced) == engine.requests - 2
    assert announced == [(1, 2, 64), (2, 2, 128)]


LENGTHS = (100, 200, 300, 400, 500)
SECOND_PROMPT = 3
"""The probe sends two requests before the first."""


@pytest.mark.parametrize(
    ("engine", "left_out"),
    [
        pytest.param(Odd(SECOND_PROMPT, EngineFault("hiccup")), {200, 300}, id="broke off: the next may have waited"),
        pytest.param(Odd(SECOND_PROMPT, ContextOverflow("too long")), {200}, id="refused: nothing was in progress"),
        pytest.param(Odd(SECOND_PROMPT, log=(f"{LOADED} (3.1 s)",)), {200}, id="the model was loaded for it"),
        pytest.param(Odd(SECOND_PROMPT, log=("slot 0 | selected slot by LRU",)), set[int](), id="any other log line"),
    ],
)
def test_times_that_are_no_prefill_are_left_out(engine: Odd, left_out: set[int]) -> None:
    near = {round(prompt.prompt_tokens, -2) for prompt in prompts_of(engine, LENGTHS)}
    assert near == set(LENGTHS) - left_out


def test_an_engine_that_is_gone_ends_it() -> None:
    with pytest.raises(EngineDied, match="failed on a prompt of the calibration: killed"):
        prompts_of(Odd(SECOND_PROMPT, EngineDied("killed")), LENGTHS)


@pytest.mark.parametrize(
    ("options", "silent"), [(Options(report="none"), True), (Options(), False), (Options(trimmable=False), False)]
)
def test_only_a_server_that_leaves_it_out_is_calibrated(options: Options, silent: bool) -> None:
    assert is_silent(probe(Scripted(options), Ledger(), "n")) is silent


def test_a_server_that_does_not_count_or_does_not_stream_cannot_be() -> None:
    found = probe(Odd(), Ledger(), "n")
    uncounted = msgspec.structs.replace(found.prompt_tokens, cold=None, repeat=None)
    assert not is_silent(msgspec.structs.replace(found, prompt_tokens=uncounted))
    assert not is_silent(msgspec.structs.replace(found, streams=False))
    assert not is_silent(msgspec.structs.replace(found, streams=None))


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    fitted = calibration_of(record_of(prompts_of(Odd(), calibration_lengths(2000))))
    assert fitted is not None
    return fitted


def again(engine: Scripted) -> Measurement:
    """The second of two identical requests: all but the last token is cached."""
    request = cold_request("x", 3000, 4)
    measure(engine, request)
    return measure(engine, request)


def test_what_was_reused_is_found_again(calibration: Calibration) -> None:
    measured = again(Odd())
    prompt = measured.evidence.prompt_tokens
    assert prompt is not None
    found = inferred_cached(calibration, measured, disturbed=False)
    assert isinstance(found, Interval)
    assert found.low_tokens <= prompt - 1 <= found.high_tokens
    assert prompt - found.low_tokens < 0.15 * prompt


def test_a_time_that_is_no_prefill_is_withheld_with_the_reason(calibration: Calibration) -> None:
    measured = again(Odd())
    said = "another request may have been in progress"
    assert said in str(inferred_cached(calibration, measured, disturbed=True))
    loaded = again(Odd(1, log=(f"{LOADED} (1.2 s): its cache was empty",)))
    assert "the model was loaded" in str(inferred_cached(calibration, loaded, disturbed=False))
    failed = again(Odd(1, EngineFault("hiccup")))
    assert inferred_cached(calibration, failed, disturbed=False) == "the request failed"
    uncounted = msgspec.structs.replace(measured, evidence=Evidence())
    assert "not counted" in str(inferred_cached(calibration, uncounted, disturbed=False))


def test_a_failure_leaves_the_engine_busy_unless_it_refused() -> None:
    assert may_be_busy(Failure("EngineFault", "HTTP 500"))
    assert not may_be_busy(None)
    assert not may_be_busy(Failure("ContextOverflow", "too long"))
    assert not may_be_busy(Failure("RequestRejected", "HTTP 400"))


@pytest.mark.parametrize("adapter", ["ollama", "lmstudio"])
def test_the_adapters_write_the_line_about_a_loaded_model_as_it_is_read_here(adapter: str) -> None:
    source = Path(__file__).parents[2] / "backends" / f"{adapter}.py"
    assert f'f"{LOADED} (' in source.read_text(encoding="utf-8")
