"""A template probe from target to report. The work behind `dyno template`."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime
from pathlib import Path

import msgspec
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from backends import open_engine, parse_target
from backends.base import JsonObject, Target, TargetError
from harness.templates.document import HISTORIES, Loss, TemplateDocument, document_of
from harness.templates.probe import Status, probe
from profiler.report.json_document import print_json
from profiler.template_stability import When

SMALL = {"llama-server": {"ctx": "512", "slots": "1", "gpu_layers": "0", "threads": "1"}, "mlx": {"ctx": "512"}}
"""Settings for a bare file or folder: nothing is evaluated, so as little as possible is taken."""

_LOOKS: dict[Status, tuple[str, str]] = {
    "stable": ("stable", "green"),
    "unstable": ("breaks", "bold red"),
    "conditional": ("depends", "yellow"),
    "refused": ("refused", "dim"),
}
_WHEN: dict[When, str] = {
    "such_reply": "with each such reply",
    "every_turn": "with every turn",
    "new_order": "with each new user message",
    "new_day": "when the date changes",
}


def run_template(place: str, options: list[str], *, json_output: bool) -> None:
    """Probe and report.

    Raises:
        TargetError: no such target, or an option that is not key=value.
        EngineError: the engine could not be started, shows no prompts, or went away.
    """
    target, template_options = target_of(place), options_of(options)
    with closing(open_engine(target)) as engine:
        now = datetime.now().astimezone()  # noqa: TID251 (the date that a template may write)
        found = probe(engine, now, template_options)
        document = document_of(place, engine.facts(), template_options, found)
    print_template(document, json_output=json_output)


def target_of(place: str) -> Target:
    """The target of a command line: a bare model file or folder gets an engine of its own, with the least settings.

    Raises:
        TargetError: neither a target nor a model that is there.
    """
    path, question, query = place.partition("?")
    if Path(path).is_dir() or (path.endswith(".gguf") and ":" not in path):
        engine = "mlx" if Path(path).is_dir() else "llama-server"
        typed = parse_target(f"{engine}:{path}{question}{query}")
        return msgspec.structs.replace(typed, options=SMALL[engine] | typed.options)
    return parse_target(place)


def options_of(pairs: list[str]) -> JsonObject:
    """Template options as typed: values are JSON where they can be read so, else text.

    Raises:
        TargetError: one is not key=value.
    """
    options: JsonObject = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise TargetError(f"template option {pair!r} has no value", hint="write --option key=value")
        try:
            options[key] = msgspec.json.decode(value)
        except msgspec.DecodeError:
            options[key] = value
    return options


def print_template(document: TemplateDocument, *, json_output: bool) -> None:
    """Print the report, or the document as one JSON object."""
    if json_output:
        print_json(document)
        return
    Console(highlight=False).print(_report(document))


def _report(document: TemplateDocument) -> RenderableType:
    colour = "bold green" if document.verdict == "STABLE" else "bold red"
    parts: list[RenderableType] = [Text(), Text.assemble((document.verdict, colour), f"  {document.reason}")]
    conditional = [result.name for result in document.constructs if result.status == "conditional"]
    if conditional:
        parts.append(Text(f"depends on how the model writes: {', '.join(conditional)}"))
    parts += [Text(), _constructs(document)]
    if document.losses:
        parts += [Text(), _costs(document), Text(_COSTS_LEGEND, style="dim"), Text()]
        for number, loss in enumerate(document.losses, 1):
            parts += _detail(number, loss)
    return Group(*parts, *_levers(document), _source(document))


def _constructs(document: TemplateDocument) -> Table:
    table = _table("construct", "", "lost", "why")
    for result in document.constructs:
        lost = max((finding.lost_tokens for finding in result.findings), default=0)
        about = any(finding.estimated for finding in result.findings)
        why = result.findings[0].cause if result.findings else result.note or ""
        cell = f"{'~' if about else ''}{lost}" if result.findings else ""
        table.add_row(result.name, Text(*_LOOKS[result.status]), cell, Text(why, overflow="fold"))
    return table


_COSTS_LEGEND = (
    "tokens evaluated again each time, by tokens of history; where the break lies behind the last user message, as if "
    "the agent had worked on one order all along"
)


def _costs(document: TemplateDocument) -> Table:
    table = _table("cause", "when", *(f"{history // 1024}k" for history in HISTORIES))
    for number, loss in enumerate(document.losses, 1):
        costs = [f"{loss.tokens_at[history]:,}" for history in HISTORIES]
        depends = " (some models)" if loss.conditional else ""
        table.add_row(Text(f"{number} {loss.cause}{depends}", overflow="fold"), _WHEN[loss.when], *costs)
    return table


def _detail(number: int, loss: Loss) -> list[RenderableType]:
    return [
        Text(f"{number} {loss.cause}: {', '.join(loss.constructs)}"),
        Text(f"  cached  {_quoted(loss.was)}", style="dim"),
        Text(f"  prompt  {_quoted(loss.now)}", style="dim"),
    ]


def _quoted(text: str) -> str:
    return repr(text)[1:-1]


def _levers(document: TemplateDocument) -> list[RenderableType]:
    lines = [f"{lever.how}: keeps {', '.join(lever.fixes)}" for lever in document.levers]
    if any("reasoning" in loss.cause for loss in document.losses) and not any("set" in line for line in lines):
        lines.append(
            "no template option known to keep reasoning helps here: it takes a template that keeps it (?template=FILE)"
        )
    if any(loss.cause.startswith("arguments") for loss in document.losses):
        lines.append(
            "arguments: no option is known; what the model writes otherwise is lost from there to the reply's end"
        )
    return [Text(), Text("what to change"), *(Text(f"  {line}") for line in lines)] if lines else []


def _source(document: TemplateDocument) -> Text:
    sha = (document.template_sha256 or "not known")[:12]
    seen = f"{document.engine} {document.build or ''}".strip()
    return Text(f"\n{document.prompts} prompts rendered by {seen}; template {sha}; nothing was generated", style="dim")


def _table(*heads: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    for head in heads:
        table.add_column(head, justify="right" if head == "lost" or head.endswith("k") else "left")
    return table
