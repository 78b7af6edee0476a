"""What the page of a long run costs: its making, its size, and how long a browser takes to open it.

The records are made, not measured: 200 sessions of 25 turns, in every second of which a clock in the system prompt
costs the whole history. Targets for 5,000 requests: made in under 5 s, opened in under 3 s, under 10 MB. The page of a
tenth of them, made in the same process, shows what grows with the run and what does not. Reading a run and naming its
causes is the work of `dyno explain` (`explaining` measures it); `--stored` measures it for these requests.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from harness.cli.page_run import page_of_run
from profiler.records import RequestRecord
from profiler.rendered import Rendered
from profiler.report.html.run_page import RunPage, run_page
from profiler.store import RunWriter
from tests.profiler.report.html.made_run import made_info, made_page, made_records

REQUESTS = 5_000
TURNS = 25
OPENINGS = 3
MADE_S, OPENED_S, LARGEST_BYTES = 5.0, 3.0, 10_000_000
FLAGS = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking".split()


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """What it gives, the seconds that it took, and the seconds of CPU of this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    made = work()
    return made, time.perf_counter() - wall, time.process_time() - cpu


def opened_s(file: Path) -> list[float]:
    """How long a browser takes until every chart is drawn; empty where there is none."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        return []
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - not needed where there is no browser

    drawn = "document.querySelectorAll('.plot svg').length === document.querySelectorAll('.plot').length"
    took: list[float] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for _ in range(OPENINGS):
            page = browser.new_page()
            started = time.perf_counter()
            page.goto(file.as_uri())
            page.wait_for_function(drawn)
            took.append(time.perf_counter() - started)
            page.close()
        browser.close()
    return took


def stored(folder: Path, records: list[RequestRecord]) -> Path:
    """The same requests as a run on disk, with prompts whose token ids differ where the clock stands."""
    writer = RunWriter.create(folder, made_info(), clock=lambda: 0)
    for record in records:
        tokens = record.evidence.prompt_tokens or 0
        shared = record.verdict.lcp_tokens or 0
        session = int(record.session.split()[1])
        ids = array("i", range(session * 100_000, session * 100_000 + tokens))
        if shared < tokens:
            ids[shared] = -record.request_id
        text = "".join(f"{token % 1000:03} " for token in ids)
        history = [{"role": "system", "content": f"clock {record.turn}"}, {"role": "user", "content": text}]
        body = msgspec.json.encode({"messages": history, "tools": [], "parameters": {}})
        writer.request(record, body, Rendered(text, ids, array("i", [1, 2])))
    writer.close("complete")
    return writer.path


def main() -> None:
    big, small = made_page(REQUESTS, turns=TURNS), made_page(REQUESTS // 10, turns=TURNS)
    # The library is loaded and bundled once, with the first page.
    first, first_s, first_cpu_s = timed(lambda: run_page(big))
    _, again_s, again_cpu_s = timed(lambda: run_page(big))
    tenth, _, tenth_cpu_s = timed(lambda: run_page(small))
    size = len(first.encode())
    print(f"{REQUESTS:,} requests, {big.explanation.losing_requests:,} of them losing")
    library = f"of which the library {first_cpu_s - again_cpu_s:.2f}"
    print(f"made in {first_s:.2f} s, {first_cpu_s:.2f} s of CPU (target {MADE_S:g} s), {library}")
    print(f"again: {again_s:.2f} s; {again_cpu_s / tenth_cpu_s:.1f} times the CPU of a tenth of the requests")
    print(
        f"{size / 1e6:.2f} MB (target under {LARGEST_BYTES / 1e6:g}); {size / len(tenth.encode()):.2f} times a tenth's"
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.html"
        file.write_text(first, encoding="utf-8")
        took = opened_s(file)
        said = ", ".join(f"{s:.2f}" for s in took) or "no Chromium here"
        print(f"opened in s: {said} (target under {OPENED_S:g})")
        if "--stored" in sys.argv:
            path = stored(Path(folder), made_records(REQUESTS, TURNS))
            page: RunPage
            page, read_s, read_cpu_s = timed(lambda: page_of_run(path))
            losses = len(page.explanation.worst)
            print(f"read, and {losses:,} losses explained: {read_s:.2f} s, {read_cpu_s:.2f} s of CPU")


if __name__ == "__main__":
    main()
