"""List targets, show one, say whether one could be opened. The work behind `dyno targets`."""

from __future__ import annotations

from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.target_checks import OptionRow, check_target, fault_of, option_rows
from harness.targets import FoundTarget, file_of, find_targets, places, read_target, resolve_target
from profiler.report.json_document import print_json


class TargetRow(msgspec.Struct, frozen=True):
    """A target of the list, as `--json` prints it. `fault` is `None` for one that could be opened."""

    name: str
    file: str
    description: str
    engine: str | None
    model: str | None
    url: str | None
    options: dict[str, str]
    fault: str | None


class ShownTarget(msgspec.Struct, frozen=True):
    """One target in full. `written` is the same on the command line; `file` is `None` for one that was typed so."""

    written: str
    file: str | None
    description: str
    engine: str
    model: str | None
    url: str | None
    fault: str | None
    options: tuple[OptionRow, ...]


def list_targets(*, json_output: bool) -> None:
    """Print every target that has a name, with what is wrong with it."""
    rows = [_row(found) for found in find_targets()]
    if json_output:
        print_json({"targets": rows, "places": [str(place) for place in places()]})
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    for head in ("name", "engine", "drives", "what it is"):
        table.add_column(head, no_wrap=head != "what it is", overflow="fold")
    for row in rows:
        about = Text(row.description)
        if row.fault:
            about.append(f"\n{row.fault}" if row.description else row.fault, style="yellow")
        table.add_row(row.name, row.engine or "?", row.url or Path(row.model or "").name or "–", about)
    console = Console(highlight=False)
    console.print(table)
    for place in dict.fromkeys(Path(row.file).parent for row in rows):
        names = ", ".join(row.name for row in rows if Path(row.file).parent == place)
        console.print(Text(f"{place}: {names}", style="dim"), soft_wrap=True)


def show_target(text: str, *, json_output: bool) -> None:
    """Print one target with every option of its engine.

    Raises:
        TargetError: no such target, or a file that cannot be used.
        UnknownEngine, MissingExtra: its options cannot be told.
    """
    shown = _shown(text, with_options=True)
    if json_output:
        print_json(shown)
        return
    console = Console(highlight=False)
    for line in filter(None, (shown.description, shown.file)):
        console.print(Text(line), soft_wrap=True)
    console.print(Text(shown.written, style="bold"), soft_wrap=True)
    console.print(Text(shown.fault or "could be opened", style="yellow" if shown.fault else "green"), soft_wrap=True)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    for head in ("option", "value", "meaning"):
        table.add_column(head, no_wrap=head == "option", overflow="fold")
    for row in shown.options:
        value = Text(row.value, style="bold") if row.value is not None else Text(row.default or "unset", style="dim")
        table.add_row(row.name, value, Text(row.meaning or ""))
    console.print(table)


def tell_check(text: str, *, json_output: bool) -> None:
    """Print that a target could be opened.

    Raises:
        EngineError: it could not; says why.
    """
    target = resolve_target(text)
    if json_output:
        print_json(_shown(text, with_options=False))
    check_target(target)
    if not json_output:
        asked = "; whether its server answers was not tried" if target.url else ""
        Console(highlight=False).print(Text(f"{text} could be opened: {target}{asked}"), soft_wrap=True)


def _row(found: FoundTarget) -> TargetRow:
    target = found.target
    return TargetRow(
        name=found.name,
        file=str(found.path),
        description=found.description,
        engine=target.engine if target else None,
        model=target.model if target else None,
        url=target.url if target else None,
        options=target.options if target else {},
        fault=found.fault or (fault_of(target) if target else None),
    )


def _shown(text: str, *, with_options: bool) -> ShownTarget:
    target, path = resolve_target(text), file_of(text)
    return ShownTarget(
        written=str(target),
        file=str(path) if path else None,
        description=read_target(path)[0] if path else "",
        engine=target.engine,
        model=target.model,
        url=target.url,
        fault=fault_of(target),
        options=option_rows(target) if with_options else (),
    )
