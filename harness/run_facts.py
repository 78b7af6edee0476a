"""What a run was: engine, machine and versions beside the settings of the command that makes it. Reads no clock."""

from __future__ import annotations

from typing import Any

from backends.base import Engine, LogsLoad
from profiler.load_log import load_sizes
from profiler.machine import machine, versions
from profiler.records import RunInfo
from profiler.run_names import new_run_id

__all__ = ["run_info"]


def run_info(command: str, target: str, engine: Engine, settings: dict[str, Any], started_unix_ns: int) -> RunInfo:
    """The info of a run that begins now, with a new id, on an engine that is ready."""
    return RunInfo(
        run_id=new_run_id(started_unix_ns),
        command=command,
        started_unix_ns=started_unix_ns,
        target=target,
        facts=engine.facts(),
        machine=machine(),
        versions=versions(),
        load=load_sizes(engine.load_log()) if isinstance(engine, LogsLoad) else None,
        settings=settings,
    )
