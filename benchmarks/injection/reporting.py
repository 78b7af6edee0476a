"""The tables of a battery: what was put in against what was named, by engine and cache kind, and every fault. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from benchmarks.injection.case import CLEAN, Made
from benchmarks.injection.judging import Outcome, Tally, confusion, tallied
from profiler.causes.catalogue import CAUSES

__all__ = ["as_json", "as_markdown"]

_TITLES = {kind.code: kind.title for kind in CAUSES}
_ORDER = [kind.code for kind in CAUSES]
_NOTHING = "nothing"


def as_markdown(outcomes: Sequence[Outcome], made: Mapping[str, Made]) -> str:
    """The tables; `made` holds the session of each case by its name."""
    ran = [outcome for outcome in outcomes if outcome.skipped is None]
    return "\n\n".join(
        (
            _headline(ran, made),
            _by_engine(ran),
            _matrix(ran, made),
            _beside(ran, made),
            _faults(ran),
            _skipped(outcomes),
        )
    ).strip() + "\n"  # fmt: skip


def as_json(outcomes: Sequence[Outcome], made: Mapping[str, Made]) -> str:
    """The same as one JSON object, with every fault."""
    ran = [outcome for outcome in outcomes if outcome.skipped is None]
    value = {
        "by_engine": [
            {"engine": group, "cases": which, **msgspec.to_builtins(tally)}
            for (group, which), tally in tallied(ran).items()
        ],
        "confusion": {code: dict(row.most_common()) for code, row in _rows(ran, made)},
        "faults": [{"case": outcome.name, **msgspec.to_builtins(fault)} for outcome in ran for fault in outcome.faults],
        "skipped": {outcome.name: outcome.skipped for outcome in outcomes if outcome.skipped is not None},
    }
    return json.dumps(value, indent=1) + "\n"


def _headline(ran: Sequence[Outcome], made: Mapping[str, Made]) -> str:
    injected = [outcome for outcome in ran if outcome.code != CLEAN]
    clean = [outcome for outcome in ran if outcome.code == CLEAN]
    codes = {code for outcome in injected for sets in made[outcome.name].must.values() for one in sets for code in one}
    wanted = sum(len(made[outcome.name].must) for outcome in injected)
    return (
        f"{len(injected)} injected cases of {len(codes)} causes, in which {wanted} requests have to be given a cause: "
        f"{sum(not o.faults for o in injected)} right in every request. {len(clean)} clean cases of "
        f"{sum(len(o.named) for o in clean)} requests: {sum(not o.faults for o in clean)} without a false alarm."
    )


def _by_engine(ran: Sequence[Outcome]) -> str:
    tally = tallied(ran)
    groups = list(dict.fromkeys(group for group, _ in tally))
    lines = ["| engine, cache | injected, right | clean, right | requests |", "| --- | --- | --- | --- |"]
    for group in groups:
        injected, clean = (tally.get((group, which), Tally()) for which in ("injected", "clean"))
        lines.append(
            f"| {group.replace('_', ' ')} | {injected.right} of {injected.cases} | {clean.right} of {clean.cases} | "
            f"{injected.requests + clean.requests} |"
        )
    return "\n".join(lines)


def _rows(ran: Sequence[Outcome], made: Mapping[str, Made]) -> list[tuple[str, Counter[str]]]:
    return sorted(confusion(ran, made).items(), key=lambda row: _place(row[0]))


def _place(code: str) -> int:
    first = code.partition("|")[0]
    return _ORDER.index(first) if first in _ORDER else len(_ORDER)


def _matrix(ran: Sequence[Outcome], made: Mapping[str, Made]) -> str:
    rows = _rows(ran, made)
    columns = sorted({code for _, row in rows for code in row}, key=_place)
    lines = [f"| put in | {' | '.join(columns)} |", "| --- |" + " --- |" * len(columns)]
    for code, row in rows:
        title = _TITLES.get(code)
        name = f"{code} {title}" if title else code.replace("|", " or ")
        lines.append(f"| {name} | {' | '.join(str(row[c] or '') for c in columns)} |")
    return "Requests by the cause that was put in (rows) and the one that was named (columns):\n\n" + "\n".join(lines)


def _beside(ran: Sequence[Outcome], made: Mapping[str, Made]) -> str:
    """What was named beside, and is right: what a changed text costs on a cache that cannot be cut back."""
    count: Counter[str] = Counter()
    for outcome in ran:
        for turn, codes in enumerate(outcome.named):
            wanted = frozenset[str]().union(*made[outcome.name].must.get(turn, ()))
            count.update(code for code in codes if code not in wanted and code in made[outcome.name].may.get(turn, ()))
    said = ", ".join(f"{code} {number} times" for code, number in count.most_common())
    return f"Named beside what was put in, where the kind of cache or another slot lost more: {said or _NOTHING}."


def _faults(ran: Sequence[Outcome]) -> str:
    lines = [
        "| case | request | fault | put in | named | lost, prompt and engine side | what dyno said |",
        "| --- " * 7 + "|",
    ]
    for outcome in ran:
        for fault in outcome.faults:
            named = ", ".join(fault.named) or _NOTHING
            wanted = ", ".join(fault.wanted) or _NOTHING
            lost = f"{fault.lost_tokens[0]}, {fault.lost_tokens[1]}"
            said = fault.text.replace("|", "/")
            lines.append(f"| {outcome.name} | {fault.turn + 1} | {fault.kind} | {wanted} | {named} | {lost} | {said} |")
    return "\n".join(lines) if len(lines) > 2 else "No request was given another cause than the one put in."


def _skipped(outcomes: Sequence[Outcome]) -> str:
    lines = [f"- {outcome.name}: {outcome.skipped}" for outcome in outcomes if outcome.skipped is not None]
    return "Cases that could not be run:\n\n" + "\n".join(lines) if lines else ""
