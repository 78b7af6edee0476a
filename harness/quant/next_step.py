"""The command that would decide what a comparison left open, or that comes next. Text only: nothing is run here."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import Final

import msgspec

from harness.quant.base import Candidate, CandidateResult, Wanted
from harness.quant.engines import WANTED_OPTIONS, engine_of, options_of

__all__ = ["command_line", "with_less_need", "with_more_rounds", "with_reference", "with_tasks"]

TASKS: Final = "toolbench:24"
"""Short tasks, and enough of them: fewer than six a candidate are not compared at all."""
_GIB = 1 << 30
_MIB = 1 << 20


def command_line(results: Iterable[CandidateResult], wanted: Wanted, *extra: str) -> str:
    """`dyno quant` on these candidates' files and engines with what the user wants, and `extra` options."""
    chosen = list(results)
    files = sorted({str(one.candidate.model.path) for one in chosen})
    words = ["dyno", "quant", *files, "--context", str(wanted.context_tokens)]
    cache_types = sorted({one.candidate.kv for one in chosen})
    if cache_types not in ([], ["f16"]):
        words += ["--kv", ",".join(cache_types)]
    if wanted.slots != 1:
        words += ["--slots", str(wanted.slots)]
    if wanted.memory_bytes is not None:
        words += ["--memory", _memory(wanted.memory_bytes)]
    if wanted.least_decode_per_s is not None:
        words += ["--min-decode", f"{wanted.least_decode_per_s:g}"]
    engines = {one.candidate.target.engine for one in chosen}
    if len(engines) == 1 and engines != {engine_of(one.candidate.model, installed=False) for one in chosen}:
        words += ["--engine", *sorted(engines)]
    for setting in dict.fromkeys(setting for one in chosen for setting in _own_settings(one.candidate, wanted)):
        words += ["--set", setting]
    return " ".join([*map(shlex.quote, words), *extra])


def with_tasks(results: Iterable[CandidateResult], wanted: Wanted) -> str:
    """Let the candidates do verified tasks."""
    return command_line(results, wanted, "--tasks", TASKS)


def with_more_rounds(results: Iterable[CandidateResult], wanted: Wanted, rounds: int) -> str:
    """The same with more repeats."""
    return command_line(results, wanted, "--repeats", str(rounds))


def with_reference(results: Iterable[CandidateResult], wanted: Wanted) -> str:
    """Measure the quality against weights that were not quantised; the user names the file."""
    return command_line(results, wanted, "--reference", "F16_OR_Q8_0_FILE")


def with_less_need(results: Iterable[CandidateResult], wanted: Wanted) -> str | None:
    """The same with half the context, where that may help; `None` where little context is left."""
    half = wanted.context_tokens // 2
    if half < 2048:
        return None
    return command_line(results, Wanted(half, wanted.slots, wanted.memory_bytes, wanted.least_decode_per_s))


def _own_settings(candidate: Candidate, wanted: Wanted) -> list[str]:
    """The launch settings of a candidate that neither follow from what is wanted nor are the usual ones here."""
    engine, options = candidate.target.engine, candidate.target.options
    usual = options_of(engine, candidate.model, candidate.kv, msgspec.structs.replace(wanted, slots=1), {})
    return [
        f"{name}={value}" for name, value in options.items() if name not in WANTED_OPTIONS and usual.get(name) != value
    ]


def _memory(value_bytes: int) -> str:
    if value_bytes % _GIB == 0:
        return f"{value_bytes // _GIB}G"
    return f"{value_bytes // _MIB}M" if value_bytes % _MIB == 0 else str(value_bytes)
