"""The tables of `dyno doctor`. They only format; what can be copied (targets, commands) is never broken into lines."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from backends.discovery.model_files import FoundModel
from backends.discovery.observed import Observed
from backends.discovery.recognition import ServedModel
from backends.discovery.servers import FoundServer
from harness.doctor import DoctorReport
from profiler.bandwidth import Bandwidth

__all__ = ["cached_words", "memory_words", "print_report"]

MOST_MODELS: Final = 20
MOST_SERVED: Final = 3
EXAMPLE_GB: Final = 4
_GIB: Final = 1 << 30
_MIB: Final = 1 << 20


def print_report(report: DoctorReport, console: Console | None = None) -> None:
    """Print everything, what matters first: the machine, what runs on it, what could, what dyno sees of it."""
    console = console or Console(highlight=False)
    console.print(_verdict(report))
    console.print()
    console.print(_machine_table(report))
    for title, lines in (
        ("servers that listen", _server_lines(report)),
        ("models on the disk", _model_lines(report, console.width)),
    ):
        console.print(Text(f"\n{title}", style="italic"))
        for line in lines:
            console.print(line, soft_wrap=True)
    console.print()
    console.print(_engine_table(report))
    console.print()
    console.print(_observed_table(report.observed))
    console.print()
    console.print(Text(f"next: {_next(report)}"), soft_wrap=True)


def _verdict(report: DoctorReport) -> Text:
    words, style = {
        True: ("READY", "bold green"),
        False: ("TOO BUSY to measure now", "bold red"),
        None: ("CANNOT TELL whether it is quiet", "bold yellow"),
    }[report.load.quiet]
    startable = sum(engine.installed and engine.launches and engine.name != "scripted" for engine in report.engines)
    counts = [
        _count(startable, "engine") + " to start",
        _count(sum(server.engine is not None for server in report.servers), "running server"),
        _count(sum(model.target is not None for model in report.models.models), "model"),
    ]
    return Text.assemble((words, style), f"  {', '.join(counts)}")


def _next(report: DoctorReport) -> str:
    """The command that measures something here: a running server, else the demonstration, else what it needs."""
    ready = [server for server in report.servers if server.state == "serving" and server.targets]
    if ready:
        return f"dyno cache {shlex.quote(ready[0].targets[0])}"
    missing = {engine.name: engine.install for engine in report.engines if not engine.installed}
    if "llama-server" in missing:
        return f"{missing['llama-server']}, then dyno demo"
    return "dyno demo, or dyno cache with one of the models above"


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _machine_table(report: DoctorReport) -> Table:
    here, load = report.machine, report.load
    table = _table("machine")
    table.add_row("system", Text(here.system))
    table.add_row("cpu", Text(here.cpu or "unknown"))
    table.add_row("cores", f"{_or_unknown(here.cores_logical)} ({_or_unknown(here.cores_physical)} physical)")
    table.add_row("memory", f"{_size(report.available_memory_bytes)} available of {_size(here.memory_bytes)}")
    table.add_row("swap", _swap(report))
    if report.unified_memory is not None:
        limit = _size(report.unified_memory.wired_limit_bytes)
        table.add_row("unified", f"the GPU may keep {limit} of it wired ({report.unified_memory.source}; not verified)")
    for index, text in enumerate(_bandwidth_lines(report.bandwidth)):
        table.add_row("" if index else "bandwidth", text)
    for gpu in report.gpus:
        table.add_row("gpu", Text(_gpu(gpu.name, gpu.memory_bytes, gpu.used_bytes, gpu.driver, gpu.verified)))
    if not report.gpus:
        table.add_row("gpu", "none found (NVIDIA's are asked by NVML, AMD's by amdsmi)")
    shares = {"foreign": load.sample.foreign_cpu, "niced": load.nice_share, "stolen": load.sample.steal}
    table.add_row(
        "load now", ", ".join(f"{name} {_percent(share)}" for name, share in shares.items()) + " of all cores"
    )
    for doubt in load.doubts:
        table.add_row("", Text(doubt.text, style="red" if doubt.severity == "doubtful" else "yellow"))
    stored = "cannot be read" if report.runs_stored is None else f"{report.runs_stored} stored"
    table.add_row("runs", Text(f"{report.runs}  ({stored})"))
    return table


def _swap(report: DoctorReport) -> str:
    if report.swap is None:
        return "unknown"
    if not report.swap.total_bytes:
        return "none"
    return f"{_size(report.swap.used_bytes)} used of {_size(report.swap.total_bytes)}"


def _bandwidth_lines(found: Bandwidth) -> Iterator[Text]:
    everyone, alone = found.all_cores_gb_per_s, found.one_thread_gb_per_s
    if everyone is None or alone is None:
        yield Text(f"not measured: {found.reason}")
        return
    yield Text(f"{everyone:.1f} GB/s read by {found.threads} threads, {alone:.1f} GB/s by one (measured)")
    if not found.doubts:
        most = max(everyone, alone) / EXAMPLE_GB
        yield Text(
            f"so on the processor, with {EXAMPLE_GB} GB of active weights, at most {most:.1f} tok/s", style="dim"
        )
    for doubt in found.doubts:
        yield Text(doubt, style="yellow")


def _gpu(name: str, memory_bytes: int | None, used_bytes: int | None, driver: str | None, verified: bool) -> str:
    memory = "memory shared with the system"
    if memory_bytes is not None:
        memory = f"{_size(used_bytes)} used of {_size(memory_bytes)}"
    parts = [name, memory, *([f"driver {driver}"] if driver else []), *([] if verified else ["not verified"])]
    return ", ".join(parts)


def _server_lines(report: DoctorReport) -> Iterator[Text]:
    for server in report.servers:
        yield _server_line(server)
        for served in server.models[:MOST_SERVED]:
            yield Text(f"    {_served(served, server.slots)}")
        if len(server.models) > MOST_SERVED:
            yield Text(f"    and {len(server.models) - MOST_SERVED} more models")
        for target in server.targets:
            yield Text(f"    dyno cache {shlex.quote(target)}", style="cyan")
        if server.state == "needs a key":
            yield Text("    put the key into an environment variable, and its name in place of NAME")
    if not report.servers:
        yield Text("  none at the usual ports of llama-server, LM Studio, Ollama, vLLM and others")
        yield Text("  --url ADDRESS looks elsewhere")


def _server_line(server: FoundServer) -> Text:
    said = {
        "serving": "",
        "loading": "loads its model",
        "needs a key": "wants a key",
        "silent": "does not answer: busy, or no web server",
        "not recognised": "answers, but not as a server of language models",
        "nothing there": "nothing listens there",
    }[server.state]
    name = " ".join(part for part in (server.program, server.version) if part)
    style = {"serving": "green", "loading": "yellow", "needs a key": "yellow"}.get(server.state, "dim")
    line = Text(f"  {server.url}  ", style="bold")
    return line.append("  ".join(part for part in (name, said) if part), style=style)


def _served(model: ServedModel, slots: int | None) -> str:
    parts = [model.name]
    if model.context_tokens is not None:
        parts.append(f"context {model.context_tokens:,}")
    if slots is not None:
        parts.append(f"{slots} slots" if slots > 1 else "1 slot")
    if model.loaded is False:
        parts.append("not loaded")
    return ", ".join(parts)


def _model_lines(report: DoctorReport, width: int) -> Iterator[Text]:
    models = report.models.models
    shown = models[:MOST_MODELS]
    name_width = max((len(model.name) for model in shown), default=0)
    in_columns = 4 + name_width + max((len(_described(model)) for model in shown), default=0) <= width
    for model in shown:
        if in_columns:
            yield Text(f"  {model.name:<{name_width}}  {_described(model)}")
        else:
            yield Text(f"  {model.name}")
            yield Text(f"    {_described(model)}")
        if model.target:
            yield Text(f"    {shlex.quote(model.target)}", style="cyan")
        if model.fault:
            yield Text(f"    {model.fault}", style="yellow")
            if not model.target:
                yield Text(f"    {model.path}", style="dim")
    if len(models) > len(shown):
        yield Text(f"  and {len(models) - len(shown)} more: dyno doctor --json lists them all")
    if not any(model.keeper == "bundled" for model in models):
        yield Text("  the bundled models are missing: install dyno again", style="yellow")
    for place in report.models.places:
        if place.keeper != "bundled":
            yield Text(f"  {_count(place.models, 'model')} in {place.path} ({place.keeper})", style="dim")
    for note in report.models.notes:
        yield Text(f"  {note}", style="yellow")


def _described(model: FoundModel) -> str:
    context = None if model.context_tokens is None else f"context {model.context_tokens:,}"
    what = " ".join(part for part in (model.kind, model.architecture, model.quant) if part)
    files = f"{model.files} files" if model.files > 1 else None
    return ", ".join(part for part in (what, _size(model.size_bytes), files, context, model.keeper) if part)


def _engine_table(report: DoctorReport) -> Table:
    table = _table("engines that dyno can start")
    for engine in report.engines:
        if not engine.launches:
            continue
        state = Text("installed", style="green") if engine.installed else Text("missing", style="yellow")
        more = engine.version or (f"install it with: {engine.install}" if engine.install else "")
        table.add_row(engine.name, Text.assemble(state, f"  {more}"))
    others = [engine for engine in report.engines if not engine.launches]
    table.add_row("others", Text(f"for running servers: {', '.join(e.name for e in others if e.installed)}"))
    for engine in others:
        if not engine.installed:
            table.add_row(engine.name, Text(f"missing  install it with: {engine.install}", style="yellow"))
    table.add_row("versions", Text(", ".join(f"{name} {version}" for name, version in report.versions.items())))
    return table


def _observed_table(rows: tuple[Observed, ...]) -> Table:
    table = Table(title="what dyno can see", title_justify="left", box=None, padding=(0, 2, 0, 0), header_style="bold")
    for head in ("engine", "cached tokens", "prompts", "times", "forced", "memory"):
        table.add_column(head, overflow="fold")
    for row in rows:
        name = f"{row.engine}, {row.way}" + ("" if row.verified else " (not verified)")
        forced = "yes" if row.forced else "no"
        table.add_row(name, cached_words(row), row.prompt, row.timings, forced, memory_words(row))
    table.caption = (
        "cached tokens: exact = counted where they are evaluated, reported = in the reply, log = in the server's log, "
        "inferred = bounds from the time to the first token · prompts: as the engine sees them, without which no lost "
        "token has a cause · times: the engine's own · forced: recorded replies are replayed token by token"
    )
    table.caption_justify = "left"
    return table


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}" + ("" if number == 1 else "s")


def cached_words(row: Observed) -> str:
    """How the cached tokens are known, what that needs, and how they are known without it."""
    needs = f" ({row.needs})" if row.needs else ""
    return row.cached + needs + (f", else {row.otherwise}" if row.otherwise else "")


def memory_words(row: Observed) -> str:
    """Whether memory is measured, and whether the engine says where it went."""
    return "no" if not row.memory else "with its log" if row.load_log else "yes"


def _size(size_bytes: int | None) -> str:
    if size_bytes is None:
        return "unknown"
    return f"{size_bytes / _GIB:.1f} GiB" if size_bytes >= _GIB else f"{size_bytes / _MIB:.1f} MiB"


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.0%}"


def _or_unknown(count: int | None) -> str:
    return "unknown" if count is None else str(count)
