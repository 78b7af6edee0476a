"""What watches the machine while an engine is measured: foreign load, memory, GPUs. Tells when that failed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from functools import partial

from backends.base import Engine, Facts, KeepsTime
from profiler.guards import Watcher
from profiler.residency.nvidia import open_gpus
from profiler.residency.records import ResidencySample
from profiler.residency.sampler import MemorySampler, ReadsGpus
from profiler.store import RunWriter

__all__ = ["gpus_of", "watched"]


@contextmanager
def gpus_of() -> Generator[Callable[[Facts], ReadsGpus | None]]:
    """What reads the GPUs for an engine, once it is known whether its launch lies after this moment."""
    gpus = open_gpus()
    if gpus is None:
        yield lambda _: None
        return
    with closing(gpus):
        before = gpus.baseline()
        yield lambda facts: partial(gpus.read, baseline=before if facts.launched else None)


@contextmanager
def watched(
    engine: Engine,
    writer: RunWriter,
    gpus: ReadsGpus | None,
    *,
    on_memory: Callable[[ResidencySample], None] = lambda _: None,
) -> Generator[None]:
    """Watch the machine and the engine's memory into the run; nothing for a simulation, which has another clock."""
    if isinstance(engine, KeepsTime):
        yield
        return

    def keep(sample: ResidencySample) -> None:
        writer.residency(sample)
        on_memory(sample)

    watcher, sampler = Watcher(engine.pids, writer.guard), MemorySampler(engine.pids, keep, gpus=gpus)
    with watcher, sampler:
        yield
    if watcher.error is not None:
        print(f"dyno: the machine was not watched to the end: {watcher.error}", file=sys.stderr)
    if sampler.error is not None:
        print(f"dyno: memory was not sampled to the end: {sampler.error}", file=sys.stderr)
