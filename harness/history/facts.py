"""What two runs must have in common to be compared: each fact by its name. Pure.

The facts of engine, machine, versions and sandbox are those of `harness.experiment.comparability`; here they are beside
the others that are never pooled: fidelity, how replies were forced, and whether the run began with a cold cache.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from backends.base import Facts
from harness.experiment.comparability import Ground, differences
from harness.experiment.plan import PlanError
from profiler.dispatch_store import StoredDispatch
from profiler.records import Machine, RequestRecord, RunInfo

__all__ = ["FAMILIES", "Fact", "beginning", "check_words", "differing", "exempt", "facts_of", "fewest_words", "work_of"]

_OWN: Final = ("fidelity", "forcing", "start", "cold", "cache")
"""The facts that are not those of an engine, a machine, versions or a sandbox."""

Fact = str | int | float | bool | None

_NOTHING: Final = RunInfo("", "", 0, "", Facts(""), Machine("", None, None, None, None), {}, {})
"""A run of which nothing is known: what differs from it is all that there is to be compared."""

FAMILIES: Final = {
    "model": ("model", "architecture", "quant", "template_sha256", "cache_kind", "granularity_tokens"),
    "engine": ("engine", "build", "launched", "cache_kind", "granularity_tokens", "settings.*"),
    "options": ("context_tokens", "slots", "cache_kind", "granularity_tokens", "settings.*"),
    "machine": ("machine.*",),
    "versions": ("version of *",),
    "sandbox": ("sandbox.*",),
}
"""What one word after `--although` lets differ: facts that change together."""


def facts_of(
    info: RunInfo,
    requests: Sequence[RequestRecord],
    dispatches: Sequence[StoredDispatch],
    cache_state: str | None = None,
) -> dict[str, Fact]:
    """All that must be equal, by name; what is not known is not there. `cache_state` is that of the experiment."""
    fidelities = {record.fidelity for record in requests} | {one.started.fidelity for one in dispatches}
    found: dict[str, object] = {
        "fidelity": ", ".join(sorted(fidelities)) or None,
        "forcing": ", ".join(sorted({record.forcing for record in requests})) or None,
        "start": beginning(requests),
        "cold": info.settings.get("cold"),
        "cache": cache_state,
        **{name: value for name, value, _ in differences(Ground("", None, info), Ground("", None, _NOTHING))},
    }
    return {name: _plain(value) for name, value in found.items() if value is not None}


def beginning(requests: Sequence[RequestRecord]) -> str | None:
    """`cold` or `warm`: whether the very first request found what this run had not put into the cache.

    Where the prompts are not shown, what it has in common with the anchor before it is not known: a tenth is let pass.
    """
    verdict = requests[0].verdict if requests else None
    if verdict is None or verdict.cached_tokens is None:
        return None
    own = verdict.lcp_tokens if verdict.lcp_tokens is not None else (verdict.prompt_tokens or 0) // 10
    return "warm" if verdict.cached_tokens > own else "cold"


def work_of(info: RunInfo, requests: Iterable[RequestRecord], dispatches: Sequence[StoredDispatch]) -> str:
    """A hash of what was done: tasks with their contents, or sessions as the run's settings describe them."""
    if dispatches:
        done: list[list[Any]] = sorted([one.started.task, one.started.task_sha256] for one in dispatches)
    else:
        done = [[name, count] for name, count in sorted(_sessions(requests).items())]
        done.append([info.settings.get(key) for key in ("sessions", "repeat")])
    return hashlib.sha256(msgspec.json.encode(done, order="deterministic")).hexdigest()[:16]


def differing(first: Mapping[str, Fact], other: Mapping[str, Fact]) -> dict[str, tuple[Fact, Fact]]:
    """The facts in which two runs differ, each with both values; unknown on one side differs."""
    names = dict.fromkeys((*first, *other))
    return {name: (first.get(name), other.get(name)) for name in names if first.get(name) != other.get(name)}


def exempt(name: str, although: Iterable[str]) -> str | None:
    """The word of `--although` that lets the fact of this name differ, if there is one."""
    for word in although:
        patterns = (word, *FAMILIES.get(word, ()))
        if any(name == one or (one.endswith("*") and name.startswith(one[:-1])) for one in patterns):
            return word
    return None


def check_words(although: Iterable[str], facts: Iterable[Mapping[str, Fact]], *others: str) -> None:
    """Nothing, where each word of `--although` means a fact that there is, or is one of `others`.

    Raises:
        PlanError: one means none; lists those that there are.
    """
    known = {*FAMILIES, *_OWN, *others, *Facts.__struct_fields__} | {name for each in facts for name in each}
    unknown = next((word for word in although if word not in known), None)
    if unknown is not None:
        raise PlanError(f"--although {unknown}: there is no such fact", hint=f"facts: {', '.join(sorted(known))}")


def fewest_words(names: Iterable[str]) -> tuple[str, ...]:
    """The words for `--although` that let all these facts differ, few of them."""
    left, words = dict.fromkeys(names), list[str]()
    while left:
        choices = [*(name for name in left if " " not in name and "." not in name), *FAMILIES]
        covered = {word: [name for name in left if exempt(name, (word,))] for word in choices}
        word = max(covered, key=lambda one: (len(covered[one]), -len(FAMILIES.get(one, ()))))
        if not covered[word]:
            word = next(iter(left))
            covered[word] = [word]
        words.append(word)
        left = {name: None for name in left if name not in covered[word]}
    return tuple(words)


def _sessions(requests: Iterable[RequestRecord]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for record in requests:
        counts[record.session] = counts.get(record.session, 0) + 1
    return counts


def _plain(value: object) -> Fact:
    return value if isinstance(value, str | int | float | bool) else msgspec.json.encode(value).decode()
