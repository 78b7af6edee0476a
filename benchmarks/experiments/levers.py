"""What `dyno ab` must find where the answer is known: a lever that lengthens the prompt, and one that breaks its cache.

Pure: a document and what its arms lost in, what does not hold out. A part is shown where its interval leaves out zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from profiler.ab_document import AbDocument, ComparisonRow, PartRow


class Losses(msgspec.Struct, frozen=True):
    """What the dispatches of one arm lost, in sum: tokens, and in how many dispatches each cause was found."""

    tokens: int
    dispatches: int
    by_cause: dict[str, int]


class Lever(msgspec.Struct, frozen=True):
    """A setting that is compared with `focused`, the context that it needs, and what must be found."""

    setting: str
    context_tokens: int
    faults: Callable[[AbDocument, Mapping[str, Losses]], list[str]]


def faults_of_bloated(document: AbDocument, losses: Mapping[str, Losses]) -> list[str]:
    """33 KB more text at the start: it is evaluated once, and every token is decoded over it. Nothing is lost."""
    row = document.comparisons[0]
    found = [*_of_any(document, row, losses), *_lost_nothing(losses["bloated"], "bloated")]
    found += [f"decode and prefill of new text: {part.part} is not shown to be longer" for part in _not_longer(row)]
    explained = sum(part.difference_s for part in row.parts if part.part in ("prefill", "decode"))
    whole = _whole(row).difference_s
    if not 0.9 * whole <= explained <= 1.1 * whole:
        found.append(f"prefill of new text and decode are {explained:.1f} s of {whole:.1f} s, not nearly all")
    return found


def faults_of_cache_hostile(document: AbDocument, losses: Mapping[str, Losses]) -> list[str]:
    """A clock before all else (P1), tools in another order (P6) and old results cleared (P11), in every dispatch."""
    row, theirs = document.comparisons[0], losses["cache-hostile"]
    found = _of_any(document, row, losses)
    for code in ("P1", "P6", "P11"):
        if theirs.by_cause.get(code, 0) < theirs.dispatches:
            found.append(f"{code} is found in {theirs.by_cause.get(code, 0)} of {theirs.dispatches} dispatches")
    others = sorted(theirs.by_cause.keys() - {"P1", "P6", "P11"})
    if others:
        found.append(f"causes that the lever does not have: {', '.join(others)}")
    lost = [part for part in row.parts if part.part == "lost"]
    if not all(part.code in ("P1", "P6", "P11") for part in lost):
        found.append(f"seconds are charged to {', '.join(str(part.code) for part in lost)}")
    lost_s, longer_s = (
        sum(part.difference_s for part in lost),
        sum(max(0.0, part.difference_s) for part in row.parts[1:]),
    )
    if lost_s < 0.8 * longer_s:
        found.append(f"what was lost is {lost_s:.1f} s of the {longer_s:.1f} s that are longer, not most of it")
    return found


def _of_any(document: AbDocument, row: ComparisonRow, losses: Mapping[str, Losses]) -> list[str]:
    """What holds of both levers: all is done and solved, by the same turns; `focused` loses nothing, and is faster."""
    found = _lost_nothing(losses[row.baseline], row.baseline)
    if document.status != "complete" or any(arm.faults or arm.passed != arm.outcomes for arm in document.arms):
        found.append("not every dispatch is done and solved")
    turns = {(point.task, point.block): set[float | None]() for point in document.points}
    for point in document.points:
        turns[point.task, point.block].add(point.measures["turns"])
    if any(len(each) > 1 for each in turns.values()):
        found.append("the arms did not do the same turns")
    low = row.primary.low
    if row.word != "worse" or low is None or low <= 1:
        found.append(f"the verdict is {row.word} ({row.primary.text}), not worse")
    parts = row.parts[1:]
    if abs(sum(part.difference_s for part in parts) - _whole(row).difference_s) > 0.01:
        found.append("the parts do not sum up to the whole")
    if any(part.part == "lost" and part.baseline_s > 0 for part in parts):
        found.append(f"the decomposition charges {row.baseline} with losses")
    return found


def _lost_nothing(losses: Losses, arm: str) -> list[str]:
    return (
        [f"{arm} lost {losses.tokens} tokens to {sorted(losses.by_cause)}"] if losses.tokens or losses.by_cause else []
    )


def _whole(row: ComparisonRow) -> PartRow:
    return row.parts[0]


def _not_longer(row: ComparisonRow) -> list[PartRow]:
    both = [part for part in row.parts if part.part in ("prefill", "decode")]
    return [part for part in both if part.low_s is None or part.low_s <= 0]


LEVERS: Final = (
    Lever("bloated", 65_536, faults_of_bloated),
    Lever("cache-hostile", 32_768, faults_of_cache_hostile),
)
