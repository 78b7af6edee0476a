"""The code of the projects that generated sessions work on, as templates. Data only; nothing is drawn here.

Braces name words that `harness.session_maker.workspace` draws. `harness.session_maker.text` has the prose, and says why
some signs are not used in what becomes an argument of a call (`FAULTS`, `TESTS`).
"""

from __future__ import annotations

PROJECTS = (
    ("ledgerline", "invoice payment customer refund discount account statement reminder"),
    ("parcelroute", "parcel route depot driver stop shipment manifest pallet"),
    ("gardenlog", "plant harvest bed season plot seedling frost sprout"),
    ("stagehand", "venue booking performer ticket seat rehearsal schedule poster"),
    ("meterbox", "meter reading tariff household contract outage interval correction"),
    ("shelfmark", "book loan reader author edition reservation fine catalogue"),
    ("tidegauge", "station sample sensor forecast alarm harbour calibration buoy"),
    ("kitchenpass", "order guest table recipe supplier voucher allergen menu"),
)
VERBS = "collect merge filter rank group check format count split load summarise update resolve select".split()
FIELDS = "amount weight priority length balance score version distance duration quantity position age".split()
ADJECTIVES = "open late recent pending valid stale active shared local urgent hidden final".split()
MODULES = "store report parser service rules index export cache loader planner".split()

FUNCTIONS = (
    '''def {verb}_{adjective}_{noun}s({noun}s: list[{Noun}], limit: int = {n}) -> list[{Noun}]:
    """The {adjective} {noun}s with the highest {field}, at most `limit`."""
    kept = [{noun} for {noun} in {noun}s if {noun}.{field} >= {m}]
    kept.sort(key=lambda {noun}: {noun}.{field}, reverse=True)
    return kept[:limit]''',
    '''def {verb}_{noun}_by_{field}({noun}s: Iterable[{Noun}]) -> dict[int, list[{Noun}]]:
    """{Noun}s by their {field}, in steps of {n}."""
    groups: dict[int, list[{Noun}]] = {{}}
    for {noun} in {noun}s:
        groups.setdefault({noun}.{field} // {n}, []).append({noun})
    return groups''',
    '''def {verb}_{field}_of_{noun}(text: str) -> int | None:
    """The {field} that a line of the {noun} file states, or None."""
    head, separator, tail = text.partition("{field}=")
    if not separator or not tail.strip().isdigit():
        return None
    return int(tail) * {n}''',
    '''def {verb}_{noun}({noun}: {Noun}, other: {Noun}) -> {Noun}:
    """One {noun} for two: the later {field} wins (old → new), {field2} adds up."""
    newer = max({noun}, other, key=lambda item: item.{field})
    return replace(newer, {field2}={noun}.{field2} + other.{field2})''',
    '''def {adjective}_{noun}_report({noun}s: Sequence[{Noun}]) -> str:
    """A table of the {adjective} {noun}s, one a line, {field} to the right."""
    width = max((len(item.name) for item in {noun}s), default={n})
    rows = [f"{{item.name:<{{width}}}}  {{item.{field}:>{m}}}" for item in {noun}s]
    return "\\n".join(rows)''',
    '''def {verb}_{noun}_file(path: Path) -> list[{Noun}]:
    """{Noun}s from a file with one a line; empty lines and comments are skipped."""
    result: list[{Noun}] = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, {field} = line.partition(",")
        if not {field}.strip().isdigit():
            raise UserError(f"{{path}}:{{number}}: {field} is not a number")
        result.append({Noun}(name.strip(), int({field})))
    return result''',
    '''def is_{adjective}({noun}: {Noun}, today: int) -> bool:
    """Whether the {noun} is {adjective} after {n} days."""
    if {noun}.{field} is None:
        return False
    return today - {noun}.{field} > {n}''',
    '''class {Adjective}{Noun}Error(UserError):
    """Raised when one {noun} has no {field} where the {field2} asks for one."""

    def __init__(self, {noun}: {Noun}) -> None:
        super().__init__(f"{noun} {{{noun}.name}} needs more {field}, at least {n}")
        self.{noun} = {noun}''',
    '''def {verb}_{field}({noun}s: Iterable[{Noun}], step: int = {n}) -> Iterator[tuple[int, int]]:
    """Pairs of {field} and running {field2}, whenever the {field} grew by a step."""
    total = last = 0
    for {noun} in sorted({noun}s, key=lambda item: item.{field}):
        total += {noun}.{field2}
        if {noun}.{field} - last >= step:
            last = {noun}.{field}
            yield last, total''',
)
FAULTS = (
    ("    return base + item.{field} * {n}", "    return base - item.{field} * {n}"),
    ("    return round(base / {n}) * item.{field}", "    return base // {n} * item.{field}"),
    ("    return max(base, item.{field} + {n})", "    return min(base, item.{field} + {n})"),
    ("    return base if item.{field} == {n} else {m}", "    return base if item.{field} != {n} else {m}"),
    ("    return sorted(item.steps, reverse=True)[{n}:]", "    return sorted(item.steps)[:{n}]"),
    (
        "    return item.{field} or base + {n}",
        "    return base + {n} if item.{field} is None else item.{field}",
    ),
)
"""A wrong line of code and the right one."""
TESTS = (
    """def test_{name}_{adjective}():
    item = {Noun}("{noun} {n}", {field}={m})
    assert {name}({n}, item) == {k}""",
    """def test_{name}_of_{field}():
    items = [{Noun}(f"{noun} {{i}}", {field}=i * {n}) for i in range({m})]
    assert [{name}(i, item) for i, item in enumerate(items)] == sorted(range({m}))""",
    """def test_{name}_without_{field}():
    item = {Noun}("{adjective} {noun}", {field}=0)
    assert {name}({k}, item) == {k}""",
)
MODULE_HEAD = '''"""{Noun}s by {field}: {verb} them for the {adjective} {module}."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from {package}.errors import UserError


@dataclass(frozen=True)
class {Noun}:
    name: str
    {field}: int = {n}
    {field2}: int = 0'''
FAULTY_FUNCTION = '''def {name}(base: int, item: {Noun}) -> int:
    """The {field} of one {adjective} {noun}, on top of what there was."""
{wrong}'''
CALLERS = (
    "    total = {name}(total, {noun})",
    "    return [{name}({n}, item) for item in {adjective}_{noun}s]",
    "from {package}.{module} import {name}",
    "    assert {name}({n}, {noun}) == {m}",
    "    {field} = {name}(previous.{field}, {noun})",
    "# {name} must see the {noun}s in the order of their {field}",
    "        yield {noun}.name, {name}({field}, {noun})",
)
FAILURE = """=================================== FAILURES ===================================
_______________________ test_{name}_{adjective} _______________________

    def test_{name}_{adjective}():
        item = {Noun}("{noun} {n}", {field}={m})
>       assert {name}({n}, item) == {k}
E       AssertionError: assert {wrong_value} == {k}
E        +  where {wrong_value} = {name}({n}, {Noun}(name='{noun} {n}', {field}={m}, {field2}=0))

{test}:{line}: AssertionError
=========================== short test summary info ============================
FAILED {test}::test_{name}_{adjective} - AssertionError: assert {wrong_value} == {k}"""
