"""What changed in the tools of a request. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from profiler.causes.base import Place
from profiler.causes.json_text import canonical, raw
from profiler.causes.same_values import tool_name
from profiler.causes.sides import Found, Kind, Side

__all__ = ["tool_changes"]


def tool_changes(old: Side, new: Side) -> Iterator[Found]:
    """Tools in another order, added, removed or changed; each kind is a difference of its own."""
    ours, theirs = [raw(tool) for tool in old.tools], [raw(tool) for tool in new.tools]
    if ours == theirs:
        return
    before, after = [tool_name(tool) for tool in old.tools], [tool_name(tool) for tool in new.tools]
    our_values, their_values = [canonical(tool) for tool in old.tools], [canonical(tool) for tool in new.tools]
    named = len(set(before)) == len(before) and len(set(after)) == len(after)
    if our_values == their_values:
        yield _found("changed", _first(ours, theirs), ours, theirs, before)
    elif sorted(our_values) == sorted(their_values):
        yield _found("reordered", _first(our_values, their_values), ours, theirs, before)
    elif named:
        yield from _by_name(dict(zip(before, ours, strict=True)), dict(zip(after, theirs, strict=True)))
    else:
        yield _found("changed", _first(ours, theirs), ours, theirs, [*before, *after])


def _by_name(ours: dict[str, str], theirs: dict[str, str]) -> Iterator[Found]:
    kept, still = [name for name in ours if name in theirs], [name for name in theirs if name in ours]
    for index, (name, tool) in enumerate(ours.items()):
        if name in theirs and theirs[name] != tool:
            yield _found("changed", index, [tool], [theirs[name]], [name])
    gone = [name for name in ours if name not in theirs]
    if gone:
        yield _found("removed", list(ours).index(gone[0]), [ours[name] for name in gone], [], gone)
    come = [name for name in theirs if name not in ours]
    if come:
        yield _found("inserted", list(theirs).index(come[0]), [], [theirs[name] for name in come], come)
    if kept != still:
        first = list(ours).index(kept[_first(kept, still)])
        yield _found("reordered", first, ours.values(), theirs.values(), kept)


def _found(kind: Kind, index: int, old: Iterable[str], new: Iterable[str], names: Sequence[str]) -> Found:
    place = Place("tools", None, f"tools[{index}]")
    before, after = (f"[{','.join(tools)}]" if tools else "" for tools in (list(old), list(new)))
    return Found(kind, place, None, None, before, after, whole=True, names=tuple(filter(None, names)))


def _first(ours: Sequence[str], theirs: Sequence[str]) -> int:
    same = (i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b)
    return next(same, min(len(ours), len(theirs)))
