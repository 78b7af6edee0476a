"""Where dispatches take place: an engine that is started and watched, and the run that they are stored in. Runs none.

A site is one load of an engine. It ends with its run closed: complete, interrupted, or failed with the error.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import msgspec

from backends import open_engine
from backends.base import Engine, Facts, KeepsTime, LogsLoad, Resetter, Target
from harness.cli.watching import gpus_of, watched
from harness.diary import Site
from harness.history.closing import keep_if_large
from harness.run_facts import run_info
from harness.sandbox.base import Capabilities, Sandbox
from harness.sending import Numbers, Sender
from profiler.causes.cases import Cases
from profiler.dispatch_records import RunFidelity
from profiler.dispatch_store import DispatchWriter
from profiler.ledger import Ledger
from profiler.machine import machine, versions
from profiler.measure import clock_of
from profiler.probe import probe
from profiler.records import Failure, Fidelity, RunInfo
from profiler.residency.records import ResidencySample
from profiler.run_names import new_run_id
from profiler.store import RunWriter

__all__ = ["OpenedSite", "opened_site"]


class OpenedSite:
    """A site with its engine; `engine` is `None` for scripted agents alone."""

    def __init__(self, site: Site, engine: Engine | None, info: RunInfo, ledger: Ledger, peaks: _Peaks) -> None:
        self.site = site
        self.engine = engine
        self.info = info
        self.ledger = ledger
        self._peaks = peaks
        self._load_log = engine.load_log() if isinstance(engine, LogsLoad) else ""
        self._sender: Sender | None = None

    @property
    def path(self) -> Path:
        """The folder of the run."""
        return self.site.writer.path

    def sender(self, fidelity: RunFidelity) -> Sender | None:
        """What sends on the engine and numbers the requests of all dispatches here; `None` without an engine."""
        if self.engine is None or fidelity == "no_engine":
            return None
        return self._sender or self._new_sender(fidelity, Numbers())

    def forget(self) -> bool:
        """Empty the engine's cache; false where it cannot be, and has to be started anew. Raises EngineError."""
        if not isinstance(self.engine, Resetter):
            return False
        self.engine.reset()
        self.ledger = Ledger()
        self.site = self.site._replace(cases=Cases(self.info.facts, self._load_log))
        if self._sender is not None:
            self._new_sender(self._sender.fidelity, self._sender.numbers)
        return True

    def memory_bytes(self) -> int | None:
        """The engine's size when it was last sampled."""
        return self._peaks.last()

    def _new_sender(self, fidelity: Fidelity, numbers: Numbers) -> Sender:
        assert self.engine is not None
        self._sender = Sender(self.engine, fidelity=fidelity, ledger=self.ledger, numbers=numbers)
        return self._sender


@contextmanager
def opened_site(
    target: Target | None,
    root: Path,
    command: str,
    settings: dict[str, Any],
    sandbox: Sandbox,
    capabilities: Capabilities,
    *,
    run_id: str | None = None,
    probing: bool = True,
    opener: Callable[[Target], Engine] = open_engine,
) -> Generator[OpenedSite]:
    """Start the engine and open a run below `root` for it; close both when the block ends.

    `opener` starts the engine. `settings` are those of the command, for the run's info. With `probing` the server is
    asked what it really reports.

    Raises:
        EngineError: the engine could not be started.
        StoreError: the run cannot be written.
    """
    with gpus_of() as gpus, _started(target, opener) as engine:
        info = _info(target, engine, command, settings)
        info = msgspec.structs.replace(info, run_id=run_id) if run_id else info
        writer = RunWriter.create(root, info)
        dispatches = DispatchWriter(writer.path)
        peaks, ledger = _Peaks(), Ledger()
        try:
            if probing and engine is not None and not isinstance(engine, KeepsTime):
                writer.describe(msgspec.structs.replace(info, probe=probe(engine, ledger, secrets.token_hex(8))))
            load_log = engine.load_log() if isinstance(engine, LogsLoad) else ""
            writer.load_log(load_log)
            site = Site(
                writer=writer,
                dispatches=dispatches,
                sandbox=sandbox,
                capabilities=capabilities,
                target=str(target) if target else None,
                cases=Cases(info.facts, load_log),
                clock=clock_of(engine) if engine else time.perf_counter_ns,
                context_tokens=info.facts.context_tokens,
                peak_memory_bytes=peaks.between,
            )
            watching = watched(engine, writer, gpus(info.facts), on_memory=peaks.take) if engine else nullcontext()
            with watching:
                yield OpenedSite(site, engine, info, ledger, peaks)
        except KeyboardInterrupt:
            writer.close("interrupted")
            raise
        except Exception as error:
            writer.close("failed", Failure(type(error).__name__, str(error)))
            raise
        else:
            writer.close("complete")
        finally:
            dispatches.close()
            keep_if_large(writer.path)


@contextmanager
def _started(target: Target | None, opener: Callable[[Target], Engine]) -> Generator[Engine | None]:
    if target is None:
        yield None
        return
    engine = opener(target)
    try:
        yield engine
    finally:
        engine.close()


def _info(target: Target | None, engine: Engine | None, command: str, settings: dict[str, Any]) -> RunInfo:
    now = time.time_ns()  # noqa: TID251 (the date of a run)
    if engine is not None:
        return run_info(command, str(target), engine, settings, now)
    return RunInfo(new_run_id(now), command, now, "none", Facts("none"), machine(), versions(), settings)


class _Peaks:
    """The engine's memory as it was sampled."""

    def __init__(self) -> None:
        self._sizes: list[tuple[int, int]] = []

    def take(self, sample: ResidencySample) -> None:
        size = sample.must_have_bytes
        if sample.processes and size is not None:
            self._sizes.append((sample.at_ns, size))

    def last(self) -> int | None:
        return self._sizes[-1][1] if self._sizes else None

    def between(self, start_ns: int, end_ns: int) -> int | None:
        return max((size for at_ns, size in self._sizes if start_ns <= at_ns <= end_ns), default=None)
