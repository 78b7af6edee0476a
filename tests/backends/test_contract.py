"""The contract suite on every engine, and one recorded exchange of each, parsed again.

An engine without an entry in `TARGETS`, or without a recording, fails here by its name. `DYNO_RECORD=1` records anew on
the real engines and then fails, so that nobody takes a fresh recording for a passed test.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from backends import engine_names, open_engine, parse_target
from backends.base import (
    ContextOverflow,
    Delta,
    Engine,
    EngineFault,
    Event,
    Evidence,
    MissingExtra,
    Prompt,
    Request,
    Stop,
    TargetError,
)
from backends.scripted import Options, Scripted
from tests.backends import contract, mlx_models, recorded, recorded_http
from tests.backends.contract import CHECKS, Check

RECORD = "DYNO_RECORD" in os.environ
RECORDINGS = Path(__file__).with_name("recordings")
MODEL = "profiles/models/tiny/tiny-f16.gguf"
TARGETS = {
    "scripted": "scripted:?max_context=8192",
    "llama-server": f"llama-server:{MODEL}?ctx=8192&threads=1",
    "llama-cpp": f"llama-cpp:{MODEL}?ctx=8192&threads=1",
    "llama-cpp-server": f"llama-cpp-server:{MODEL}?ctx=8192&threads=1",
    "openai": "openai:URL",
    "openai-sdk": "openai-sdk:URL",
    "anthropic": "anthropic:URL",
    "mlx": f"mlx:{mlx_models.FOLDER}?ctx=8192",
    "mlx-server": f"mlx-server:{mlx_models.FOLDER}?ctx=8192",
}
FORMS = {
    "openai api=completions": "openai:URL?api=completions",
    "openai api=responses": "openai:URL?api=responses",
    "openai-sdk api=responses": "openai-sdk:URL?api=responses",
}
"""Engines once more, asked in another form."""
DOCUMENTED = {n for n in engine_names() if recorded.is_documented(RECORDINGS / n)}
"""Servers that cannot run here: their recordings stand for them."""
SILENT = {"llama-cpp-server", "lmstudio", "ollama"}
"""Engines whose replies never say what was reused."""
NAMES = [
    pytest.param(n, marks=() if n == "scripted" else pytest.mark.engine) for n in engine_names() if n not in DOCUMENTED
]


def opened(name: str) -> Engine:
    target = {**TARGETS, **FORMS}.get(name)
    if target is None:
        pytest.fail(f"engine {name} has no entry in TARGETS: add the target that the contract suite runs on")
    try:
        return recorded_http.opened(mlx_models.filled_in(target))
    except MissingExtra as error:
        pytest.skip(f"{error}: {error.hint}")


@pytest.fixture(scope="module", params=[*NAMES, *(pytest.param(f, marks=pytest.mark.engine) for f in FORMS)])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    running = opened(request.param)
    yield running
    running.close()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(engine: Engine, check: Check) -> None:
    check(engine)


@pytest.mark.parametrize("name", NAMES)
def test_closing_twice_ends_its_processes(name: str) -> None:
    engine = opened(name)
    pids = engine.pids()
    assert isinstance(engine, Engine)
    engine.close()
    engine.close()
    assert not any(psutil.pid_exists(pid) for pid in pids)


@pytest.mark.parametrize("name", engine_names())
def test_an_unknown_option_names_the_nearest(name: str) -> None:
    options = [field for field in recorded.option_names(name) if len(field) > 3]
    with pytest.raises((TargetError, MissingExtra)) as caught:
        open_engine(parse_target(f"{name}:{MODEL}?{options[0]}x=1"))
    if isinstance(caught.value, MissingExtra):
        pytest.skip(f"{caught.value}: {caught.value.hint}")
    assert caught.value.hint == f"did you mean {options[0]}?"


@pytest.mark.skipif(not RECORD, reason="records only where DYNO_RECORD is set")
@pytest.mark.parametrize("name", NAMES)
def test_record(name: str) -> None:
    engine = opened(name)
    try:
        recorded.record(engine, name, TARGETS[name], RECORDINGS / name)
    finally:
        engine.close()
    pytest.fail(f"recorded anew in {RECORDINGS.name}/{name}: look at the difference, then run without DYNO_RECORD")


@pytest.mark.parametrize("name", engine_names())
def test_a_recording_gives_the_stored_events(name: str) -> None:
    folder = RECORDINGS / name
    if not (folder / "about.toml").is_file():
        pytest.fail(f"engine {name} has no recording: run this test with DYNO_RECORD=1, and keep {folder.name}/")
    about = recorded.about(folder)
    assert about.origin == ("simulated" if name == "scripted" else "documented" if name in DOCUMENTED else "captured")
    assert about.source or name not in DOCUMENTED, "say the page that it was written from"
    assert set(recorded.EXCHANGES) <= set(recorded.exchanges(folder))
    for exchange in recorded.exchanges(folder):
        try:
            replayed = recorded.replayed(name, folder, exchange)
        except MissingExtra as error:
            pytest.skip(f"{error}: {error.hint}")
        assert replayed == recorded.stored(folder, exchange)


@pytest.mark.parametrize("name", engine_names())
def test_a_recording_holds_what_matters(name: str) -> None:
    events = [event for e in recorded.EXCHANGES for event in recorded.stored(RECORDINGS / name, e)]
    kinds = {event.kind for event in events if isinstance(event, Delta)}
    assert kinds >= ({"content"} if name == "llama-cpp-server" else {"reasoning", "tool_call"})
    evidence = [event for event in events if isinstance(event, Evidence)]
    assert len(evidence) == len(recorded.EXCHANGES)
    assert all((said.cached_tokens is None) == (name in SILENT) for said in evidence)


@pytest.mark.parametrize("name", engine_names())
def test_a_recording_keeps_the_contract(name: str) -> None:
    for exchange in recorded.exchanges(RECORDINGS / name):
        served = contract.Served(iter(recorded.stored(RECORDINGS / name, exchange)))
        contract.in_order(served)
        contract.adds_up(served.evidence)


def test_every_recording_belongs_to_an_engine() -> None:
    assert {folder.name for folder in RECORDINGS.iterdir()} == set(engine_names())


Fault = Callable[[Event], Event | None]


class Faulty(Scripted):
    """The simulation with one fault in what it yields; `None` leaves the event out."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(Options(max_context=8192))
        self._fault = fault

    def stream(self, request: Request) -> Iterator[Event]:
        for event in super().stream(request):
            faulty = self._fault(event)
            if faulty is not None:
                yield faulty


class Forgetful(Faulty):
    """Forgets its cache before each request."""

    def stream(self, request: Request) -> Iterator[Event]:
        self.reset()
        yield from super().stream(request)


class Stubborn(Faulty):
    """Keeps its cache when told to forget it."""

    def reset(self) -> None:
        return None


class Toolless(Faulty):
    """Does not put the tools into the prompt that it shows."""

    def render(self, request: Request) -> Prompt:
        return super().render(msgspec.structs.replace(request, tools=()))


class Vague(Faulty):
    """Does not say which error an overflow is."""

    def stream(self, request: Request) -> Iterator[Event]:
        try:
            yield from super().stream(request)
        except ContextOverflow as error:
            raise EngineFault(str(error)) from error


def sound(event: Event) -> Event:
    return event


def without_stop(event: Event) -> Event | None:
    return None if isinstance(event, Stop) else event


def counted_wrongly(event: Event) -> Event:
    return msgspec.structs.replace(event, evaluated_tokens=7) if isinstance(event, Evidence) else event


def without_sources(event: Event) -> Event:
    return msgspec.structs.replace(event, sources={}) if isinstance(event, Evidence) else event


def in_capitals(event: Event) -> Event:
    return msgspec.structs.replace(event, text=event.text.upper()) if isinstance(event, Delta) else event


def as_evidence_twice(event: Event) -> Event:
    return Evidence() if isinstance(event, Stop) else event


@pytest.mark.parametrize(
    ("kind", "fault", "check"),
    [
        (Faulty, without_stop, contract.events_come_in_order),
        (Faulty, as_evidence_twice, contract.events_come_in_order),
        (Faulty, counted_wrongly, contract.evidence_adds_up),
        (Faulty, without_sources, contract.evidence_adds_up),
        (Faulty, in_capitals, contract.a_forced_reply_comes_out_exactly),
        (Faulty, in_capitals, contract.a_forced_tool_call_comes_out_whole),
        (Forgetful, sound, contract.a_continuation_reuses_the_prompt_and_the_reply),
        (Stubborn, sound, contract.a_reset_makes_the_next_request_cold),
        (Toolless, sound, contract.tools_calls_and_results_reach_the_prompt),
    ],
    ids=lambda value: value.__name__,
)
def test_the_suite_sees_a_fault(kind: type[Faulty], fault: Fault, check: Check) -> None:
    with pytest.raises(AssertionError):
        check(kind(fault))


def test_the_suite_sees_an_overflow_that_is_not_named() -> None:
    with pytest.raises(EngineFault):
        contract.an_overflow_is_named_and_survived(Vague(sound))
