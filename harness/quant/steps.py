"""What each step of a comparison of quants leaves behind, as values that are stored as they are. Values only."""

from __future__ import annotations

from typing import Final

import msgspec

from harness.quant.base import CacheStability, TaskResult
from harness.quant.depths import DepthSample
from harness.quant.plan import Step
from profiler.quality.base import Quality
from profiler.records import AnchorSample

__all__ = [
    "CACHE_IDS", "CacheFound", "CallsFound", "Found", "GreedyCall", "Loaded", "QualityFound", "RatesFound", "StepDone",
    "TaskDone",
]  # fmt: skip

CACHE_IDS: Final = 1_000_000
"""Ids of replayed requests begin behind this, so that those of dispatches in the same run stay apart."""


class Loaded(msgspec.Struct, frozen=True, tag=True):
    """A load: seconds until the engine was ready, and the memory of its processes after one small request.

    `anchors` are of that moment, several in a row; `filled_tokens` are those of the longest prompt until then.
    """

    load_s: float
    must_have_bytes: int | None
    file_bytes: int | None
    device_bytes: int | None
    anchors: tuple[AnchorSample, ...]
    build: str | None = None
    filled_tokens: int | None = None


class RatesFound(msgspec.Struct, frozen=True, tag=True):
    """One repeat of the rates by depth; `generated_tokens` in all, for the energy of one."""

    samples: tuple[DepthSample, ...]
    generated_tokens: int | None = None


class CacheFound(msgspec.Struct, frozen=True, tag=True):
    """Cache stability on the plan's sessions."""

    cache: CacheStability


class GreedyCall(msgspec.Struct, frozen=True):
    """What a model calls at one position, with the greatest probability at each token.

    `arguments` is their JSON with sorted keys, or the text as it was written where that is no JSON object. `name` is
    `None` where it called nothing; `fault` says why the call could not be run, `None` for one that could.
    """

    name: str | None
    arguments: str = ""
    fault: str | None = None


class CallsFound(msgspec.Struct, frozen=True, tag=True):
    """The greedy call at each position, in their order, beside the recorded one; `None` for a request that failed.

    `positions` names them.
    """

    positions: tuple[str, ...]
    recorded: tuple[GreedyCall, ...]
    calls: tuple[GreedyCall | None, ...]


class TaskDone(msgspec.Struct, frozen=True, tag=True):
    """One dispatch; `task` is `None` where the verifier or the engine failed, so that it counts for nothing."""

    task: TaskResult | None
    dispatch_id: str
    note: str | None = None


class QualityFound(msgspec.Struct, frozen=True, tag=True):
    """Quality against the reference, which is measured against itself too."""

    quality: Quality


Found = Loaded | RatesFound | CacheFound | CallsFound | TaskDone | QualityFound


class StepDone(msgspec.Struct, frozen=True):
    """A step that was done, or `failed` with a reason. `load` is the run's folder that it was done on, if any.

    The window is in ns of the clock of that run's samples; `took_s` is by the wall.
    """

    step: Step
    found: Found | None
    took_s: float
    failed: str | None = None
    load: str | None = None
    window_ns: tuple[int, int] | None = None
    at_unix_ns: int = 0
