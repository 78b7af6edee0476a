"""Whether what two arms ran on can be compared: the facts that must be equal, and which one is not. Pure.

What the arms differ in on purpose is exempt: with two targets that name different models, the model's facts may differ;
with the same target, none may.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, cast

import msgspec

from backends.base import Target
from harness.experiment.plan import PlanError
from profiler.records import RunInfo

__all__ = ["Ground", "check_equal", "differences"]

_BY_MODEL = {"model", "architecture", "quant", "template_sha256", "cache_kind", "granularity_tokens"}
_BY_OPTIONS = {"context_tokens", "slots", "cache_kind", "granularity_tokens", "settings"}


class Ground(NamedTuple):
    """What one load of an engine ran on, and for which arm."""

    arm: str
    target: Target | None
    info: RunInfo


def check_equal(grounds: Iterable[Ground]) -> None:
    """Every load against the first one.

    Raises:
        PlanError: a fact differs that must be equal; names it, with both values.
    """
    first, *others = grounds
    for other in others:
        found = next(differences(first, other), None)
        if found is None:
            continue
        name, left, right = found
        who = f"{first.arm} and {other.arm}" if first.arm != other.arm else f"two loads of {first.arm}"
        raise PlanError(
            f"{who} cannot be compared: {name} is {left!r} and {right!r}",
            hint="run all of it on one machine with one build; start a new experiment where that has changed",
        )


def differences(a: Ground, b: Ground) -> Iterator[tuple[str, object, object]]:
    """The facts that must be equal and are not, each with both values."""
    exempt = _exempt(a.target, b.target)
    for name, left, right in _beside("", msgspec.to_builtins(a.info.facts), msgspec.to_builtins(b.info.facts)):
        if name.partition(".")[0] not in exempt:
            yield name, left, right
    yield from _beside("machine.", msgspec.to_builtins(a.info.machine), msgspec.to_builtins(b.info.machine))
    yield from _beside("version of ", a.info.versions, b.info.versions)
    yield from _beside("sandbox.", a.info.settings.get("sandbox", {}), b.info.settings.get("sandbox", {}))


def _exempt(a: Target | None, b: Target | None) -> set[str]:
    if a is None or b is None or a.engine != b.engine or a.url != b.url:
        # Another engine, or none: all that it says of itself may differ.
        return set() if a is b else {"engine", "build", "launched", *_BY_MODEL, *_BY_OPTIONS}
    exempt = set[str]()
    if a.model != b.model:
        exempt |= _BY_MODEL
    if a.options != b.options:
        exempt |= _BY_OPTIONS
    if a.options.get("binary") != b.options.get("binary"):
        exempt.add("build")
    return exempt


def _beside(prefix: str, left: dict[str, Any], right: dict[str, Any]) -> Iterator[tuple[str, object, object]]:
    for key in [*left, *(key for key in right if key not in left)]:
        one, other = left.get(key), right.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            inner = cast("dict[str, Any]", one), cast("dict[str, Any]", other)
            yield from _beside(f"{prefix}{key}.", *inner)
        elif one != other:
            yield f"{prefix}{key}", one, other
