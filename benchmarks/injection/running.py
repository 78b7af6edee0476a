"""Put cases through real engines and dyno's own replay, store and findings; what was put in is compared afterwards.

One engine process serves the cases that want the same launch options; a nonce of its own keeps each case apart. Every
case is a stored run: one that is there already is read again, and not sent again.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec

from backends import open_engine, parse_target
from backends.base import CacheKind, EngineError, Facts, JsonObject
from benchmarks.injection.case import ACT, Case, Form, Made, Size
from benchmarks.injection.driver import Driven, driven
from benchmarks.injection.judging import Outcome, Seen, judged
from harness.replay import Plan, replay
from harness.sessions import Session, Turn
from profiler.findings import Findings, find
from profiler.ledger import Ledger
from profiler.machine import machine, versions
from profiler.records import RequestRecord, RunInfo
from profiler.store import RunWriter, read_run

__all__ = [
    "CASES_PER_LAUNCH",
    "Launches",
    "Models",
    "Place",
    "is_stored",
    "outcomes",
    "run_info",
    "send",
    "size_of",
    "target_of",
]

CASES_PER_LAUNCH: Final = 25
"""After so many cases an engine is started anew: its store and its log would grow with every one."""
_CONTEXT: Final = "16384"
_SLOW: Final = ("mlx", "mlx-server")

Models = Mapping[tuple[str, CacheKind], Path]
"""The model of an engine and a cache kind."""


class Place(msgspec.Struct, frozen=True):
    """Where a battery runs: models, templates, the folder of its runs; `size` if it is not the engine's usual one."""

    models: Models
    templates: Mapping[str, Path]
    runs: Path
    threads: int = 1
    size: Size | None = None


def size_of(engine: str) -> Size:
    """How long this engine's prompts are to be."""
    return "small" if engine in _SLOW else "usual"


def target_of(place: Place, engine: str, kind: CacheKind, form: Form) -> str:
    """The target that a form asks for on an engine, as typed."""
    options = {} if engine == "mlx-server" else {"ctx": _CONTEXT}
    if engine.startswith("llama"):
        options["threads"] = str(place.threads)
    options |= _launch(engine, form)
    if form.template is not None:
        options["template"] = str(place.templates[form.template])
    query = "&".join(f"{key}={value}" for key, value in options.items())
    return f"{engine}:{place.models[engine, kind]}" + (f"?{query}" if query else "")


def _launch(engine: str, form: Form) -> dict[str, str]:
    """Of the form's launch options, those that are this engine's."""
    if engine not in ("llama-server", "mlx-server"):
        return {}
    return {k: v for k, v in form.launch.items() if k.startswith("prompt_cache") == (engine == "mlx-server")}


class Launched:
    """A real engine under the driver, with what it was sent; it can be started anew."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.engine: Driven = driven(open_engine(parse_target(target)))
        self.ledger = Ledger()
        self.served = 0

    def restart(self) -> None:
        """End the engine and start it anew; the ledger still knows what was sent."""
        self.engine.close()
        self.engine = driven(open_engine(parse_target(self.target)))


class Launches:
    """At most one engine at a time: the machine has few cores."""

    def __init__(self) -> None:
        self._now: Launched | None = None

    def get(self, target: str) -> Launched:
        """The engine of this target, started if it is not running. Raises EngineError."""
        now = self._now
        if now is None or now.target != target or now.served >= CASES_PER_LAUNCH:
            self.close()
            now = self._now = Launched(target)
        now.served += 1
        return now

    def close(self) -> None:
        """End the engine."""
        if self._now is not None:
            self._now.engine.close()
            self._now = None


def outcomes(place: Place, cases: Iterable[Case]) -> Iterator[Outcome]:
    """The outcome of every case, as soon as it is known; cases of one target come after each other."""
    by_target: dict[str, list[Case]] = {}
    for case in cases:
        by_target.setdefault(target_of(place, case.engine, case.kind, case.form), []).append(case)
    with closing(Launches()) as launches:
        for target, group in by_target.items():
            for case in group:
                yield _one(place, launches, target, case)


def _one(place: Place, launches: Launches, target: str, case: Case) -> Outcome:
    started, made = time.perf_counter(), case.made(place.size or size_of(case.engine))
    name = _digest(case, made)
    folder = place.runs / name
    if not (folder / "closed.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        try:
            launched = launches.get(target)
            _stored(place, launched, name, case.name, made.turns)
        except EngineError as error:
            launches.close()
            shutil.rmtree(folder, ignore_errors=True)
            return _outcome(case, (), made, time.perf_counter() - started, f"{type(error).__name__}: {error}")
    run = read_run(folder)
    return _outcome(case, seen(find(folder, run), run.requests), made, time.perf_counter() - started, None)


def is_stored(place: Place, case: Case) -> bool:
    """Whether a case was sent already, and its run is there."""
    return (place.runs / _digest(case, case.made(place.size or size_of(case.engine))) / "closed.json").exists()


def _digest(case: Case, made: Made) -> str:
    """What a case sends, and to what: another form of it is another run."""
    said = msgspec.json.encode([case.name, dict(case.form.launch), case.form.template, made.turns])
    return hashlib.sha256(said).hexdigest()[:16]


def _outcome(case: Case, said: Sequence[Seen], made: Made, seconds: float, skipped: str | None) -> Outcome:
    form = case.form
    return Outcome(
        case.name, case.engine, case.kind, form.code, form.name, case.seed,
        tuple(one.codes for one in said), judged(made, said), round(seconds, 2), skipped,
    )  # fmt: skip


def seen(found: Findings, records: Sequence[RequestRecord]) -> tuple[Seen, ...]:
    """What was said of every request, in order."""
    said = {finding.record.request_id: finding for finding in found.findings}
    result: list[Seen] = []
    for record in records:
        finding = said.get(record.request_id)
        codes = tuple(dict.fromkeys(charge.cause.code for charge in finding.charges)) if finding else ()
        text = " / ".join(charge.cause.text for charge in finding.charges) if finding else ""
        verdict = record.verdict
        lost = verdict.lost_prompt_side_tokens or 0, verdict.lost_engine_side_tokens or 0
        counts = (
            f"P {verdict.prompt_tokens} C {verdict.cached_tokens} L {verdict.lcp_tokens} prev {verdict.prev_tokens}"
        )
        failed = f"{record.error.kind}: {record.error.message}. " if record.error else ""
        result.append(Seen(codes, lost, f"{failed}{counts}. {text}"))
    return tuple(result)


def run_info(run_id: str, target: str, facts: Facts, what: str) -> RunInfo:
    """What is written about a run of the battery."""
    return RunInfo(
        run_id=run_id, command="benchmarks.injected_causes", started_unix_ns=0, target=target, facts=facts,
        machine=machine(), versions=versions(), settings={"case": what},
    )  # fmt: skip


def _stored(place: Place, launched: Launched, run_id: str, name: str, turns: Sequence[Turn]) -> None:
    """Send the turns, as a run of its own. An unfinished run is not kept: the case is sent again."""
    writer = RunWriter.create(place.runs, run_info(run_id, launched.target, launched.engine.facts(), name))
    try:
        send(launched, run_id[:5], turns, writer)
    except BaseException:
        shutil.rmtree(writer.path, ignore_errors=True)
        raise
    writer.close("complete")


def send(launched: Launched, nonce: str, turns: Sequence[Turn], writer: RunWriter, first: int = 0) -> int:
    """Replay the turns as the session `nonce`, with request ids after `first`. Returns the last id.

    Raises:
        EngineError: the engine cannot be started anew, or is gone.
        StoreError: the run cannot be written.
    """
    sent = 0
    for part in _parts(turns):
        if sent:
            launched.restart()
        plan = Plan((Session(nonce, nonce, None, None, None, part),), nonce=nonce)
        for record, kept in replay(launched.engine, plan, ledger=launched.ledger, on_anchor=writer.anchor):
            moved = msgspec.structs.replace(
                record, request_id=record.request_id + first + sent, turn=record.turn + sent
            )
            writer.request(moved, _without_act(kept.body), kept.rendered)
        sent += len(part)
    return first + sent


def _parts(turns: Sequence[Turn]) -> Iterator[tuple[Turn, ...]]:
    """The turns, cut where the engine is to be started anew."""
    cuts = [n for n, turn in enumerate(turns) if turn.parameters.get(ACT) == "restart"]
    edges = [0, *cuts, len(turns)]
    for start, end in pairwise(edges):
        yield tuple(turns[start:end])


def _without_act(body: bytes) -> bytes:
    if ACT.encode() not in body:
        return body
    request: JsonObject = msgspec.json.decode(body)
    request["parameters"] = {k: v for k, v in request["parameters"].items() if k != ACT}
    return msgspec.json.encode(request)
