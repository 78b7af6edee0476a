"""Small runs on disk whose every figure is known, made by the store itself and by no engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from backends.base import Facts
from profiler.dispatch_store import DispatchWriter
from profiler.records import AnchorSample, GuardSample, Machine, RequestRecord, RunInfo
from profiler.residency.records import ResidencySample
from profiler.store import RunWriter
from tests.profiler import dispatches

DAY_NS = 86_400 * 10**9
FACTS = Facts("llama-server", build="b1", model="tiny.gguf", quant="Q8_0", template_sha256="t" * 64)
MACHINE = Machine("Linux", "a processor", 2, 2, 1 << 34)


def info(name: str, day: int = 0, **further: Any) -> RunInfo:
    fields: dict[str, Any] = {
        "run_id": name,
        "command": "cache",
        "started_unix_ns": 1_795_000_000 * 10**9 + day * DAY_NS,
        "target": "llama-server:tiny.gguf",
        "facts": FACTS,
        "machine": MACHINE,
        "versions": {"llmdyno": "0.1"},
        "settings": {"repeat": 1, "cold": True, "sessions": {"one": {"sha256": "1" * 64}}},
    }
    return RunInfo(**{**fields, **further})


def session_requests(session: str = "one", count: int = 3, cached: int | None = 80) -> list[RequestRecord]:
    """Requests of `dispatches.request`; the first one of a run is cold."""
    return [
        dispatches.request(number, session=session, fidelity="rehearse", cached=cached if number > 1 else 0)
        for number in range(1, count + 1)
    ]


def write_run(
    root: Path,
    name: str,
    requests: list[RequestRecord] | None = None,
    *,
    status: str | None = "complete",
    **of_info: Any,
) -> Path:
    """A run of sessions; `status` `None` leaves it open, as a kill does."""
    writer = RunWriter.create(root, info(name, **of_info))
    for record in session_requests() if requests is None else requests:
        writer.request(record)
    writer.residency(ResidencySample(10, 0, 1, "status", must_have_bytes=1000))
    if status is not None:
        writer.close(status)  # type: ignore[arg-type]
    return writer.path


def write_dispatches(root: Path, name: str, tasks: list[str], wall_ms: int = 1000, **of_info: Any) -> Path:
    """A run of agents, each with one turn, one call and one request; all pass."""
    settings = {"sandbox": msgspec.to_builtins(dispatches.CONFINED)}
    writer = RunWriter.create(root, info(name, command="run", settings=settings, **of_info))
    told = DispatchWriter(writer.path)
    for number, task in enumerate(tasks, start=1):
        own = f"{number:04d}-{task.replace('/', '-')}"
        record = dispatches.request(number, session=own, cached=0 if number == 1 else 80)
        writer.request(record)
        turn = dispatches.turn(0, dispatches.call(), request_id=number, name=own)
        told.started(dispatches.started(own, task=task, levers={"limits.wall_s": 60.0}))
        told.turn(turn)
        ended = dispatches.ended([record], [turn], own)
        totals = msgspec.structs.replace(ended.totals, wall_ns=wall_ms * 10**6, lost_by_cause_s={"P1": 0.5})
        outcome = msgspec.structs.replace(ended.outcome, verified="pass", score=1.0)
        told.ended(msgspec.structs.replace(ended, totals=totals, outcome=outcome))
    writer.residency(ResidencySample(10, 0, 1, "status", must_have_bytes=1000))
    writer.guard(GuardSample(10, 10, 0.1, 0.0, 0, 0, 0))
    writer.anchor(AnchorSample(10, 100.0, 10.0))
    told.close()
    writer.close("complete")
    return writer.path
