"""What a question to a million stored requests takes: `dyno history` and `dyno sql`, the command and the answer alone.

The runs are generated: of each the tables as `harness.history.kept` writes them, with requests whose figures are made
by DuckDB and not by an engine. Run: `python -m benchmarks.history [REQUESTS [REQUESTS_A_RUN …]]`.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import msgspec

from backends.base import Facts
from harness.history.database import History
from harness.history.kept import Index, literal
from harness.history.run_rows import run_row
from harness.history.stored import KEPT, name_of, read_work
from harness.history.tables import TABLES, TABLES_VERSION
from profiler.records import Machine, RunInfo
from profiler.store import RunWriter

ROOT = Path(__file__).parents[1]
REQUESTS, A_RUN, REPEATS = 1_000_000, (5000, 500), 5
SECOND_NS = 1_000_000_000

BY_MODEL = (
    "SELECT model, quant, count(*) AS requests, sum(r.cached_tokens) / sum(r.prompt_tokens) AS share, "
    "median(ttft_ns) / 1e6 AS ttft_ms FROM requests AS r JOIN runs USING (run) GROUP BY ALL ORDER BY ALL"
)
BY_CLASS = "SELECT cache_class, count(*) AS n, sum(lost_ns) / 1e9 AS lost_s FROM verdicts GROUP BY ALL ORDER BY n DESC"
MADE = {
    "session": "'session-' || (i % 10)",
    "conversation": "'main'",
    "fidelity": "'rehearse'",
    "forcing": "'token_ids'",
    "cache_class": "CASE WHEN i % 50 = 0 THEN 'cold' WHEN i % 17 = 0 THEN 'full_miss' ELSE 'hit' END",
    "continuation": "i % 50 <> 0",
    "request_id": "i + 1",
    "turn": "i % 50",
    "repeat": "0",
    "sent_ns": "i * 1000000000",
    "ttft_ns": "(20000000 + hash(i + {seed}) % 400000000)::BIGINT",
    "e2e_ns": "(500000000 + hash(i + {seed}) % 4000000000)::BIGINT",
    "prompt_tokens": "2000 + 300 * (i % 50)",
    "cached_tokens": "CASE WHEN i % 17 = 0 THEN 0 ELSE 1900 + 300 * (i % 50) END",
    "generated_tokens": "(50 + hash(i) % 400)::BIGINT",
    "lost_tokens": "CASE WHEN i % 17 = 0 THEN 1900 + 300 * (i % 50) ELSE 0 END",
    "lost_ns": "CASE WHEN i % 17 = 0 THEN 2000000 * (i % 50) ELSE 0 END",
    "decode_tokens_per_s": "30 + (hash(i + {seed}) % 1000) / 100.0",
}


def main() -> None:
    """Print one JSON object: seconds of each question, by how the requests are spread over runs."""
    sizes = [int(word) for word in sys.argv[1:]] or [REQUESTS, *A_RUN]
    found: dict[str, object] = {
        "requests": sizes[0],
        "cores": os.cpu_count(),
        "duckdb": duckdb.__version__,
        "load_average": os.getloadavg()[0],
    }
    for a_run in sizes[1:] or A_RUN:
        with tempfile.TemporaryDirectory() as place:
            runs = Path(place) / "runs"
            generate(runs, sizes[0] // a_run, a_run)
            found[f"{sizes[0] // a_run} runs of {a_run}"] = measured(runs)
    print(json.dumps({**found, "load_average_after": os.getloadavg()[0]}, indent=2))


def generate(runs: Path, number: int, requests: int) -> None:
    """Runs of so many requests each, closed, with their tables kept."""
    for index in range(number):
        info = RunInfo(
            run_id=f"run-{index:06d}",
            command="cache",
            started_unix_ns=1_700_000_000 * SECOND_NS + index * 3600 * SECOND_NS,
            target="generated:",
            facts=Facts("generated", model=f"model-{index % 7}", quant=("Q8_0", "Q4_K_M")[index % 2]),
            machine=Machine("Linux", "generated", 2, 2, 1 << 34),
            versions={"llmdyno": "generated"},
            settings={},
        )
        writer = RunWriter.create(runs, info)
        writer.close("complete")
        folder = writer.path
        (folder / KEPT).mkdir()
        write_requests(folder / KEPT / "requests.parquet", info.run_id, requests, index)
        row = run_row(name_of(folder), read_work(folder))
        row |= {"requests": requests, "errors": 0, "cached_share": 0.9 + (index % 5) / 100, "ttft_s": 0.2}
        row |= {"decode_tokens_per_s": 35.0 + index % 3, "prefill_tokens_per_s": 400.0 + index % 11}
        sizes = {file.name: file.stat().st_size for file in folder.iterdir() if file.suffix in {".json", ".jsonl"}}
        (folder / KEPT / "index.json").write_bytes(
            msgspec.json.encode(Index(TABLES_VERSION, sizes, ("requests",), row))
        )


def write_requests(file: Path, run: str, requests: int, seed: int) -> None:
    """The table of a run's requests; what is not made is NULL."""
    made = {"run": literal(run), **{name: text.format(seed=seed * 7919) for name, text in MADE.items()}}
    columns = ", ".join(
        f'({made.get(column.name, "NULL")})::{column.type} AS "{column.name}"' for column in TABLES["requests"].columns
    )
    _CONNECTION.execute(
        f"COPY (SELECT {columns} FROM range({requests}) AS r(i)) TO {literal(str(file))} "
        "(FORMAT parquet, COMPRESSION zstd)"
    )


_CONNECTION = duckdb.connect(":memory:", config={"threads": 1})


def measured(runs: Path) -> dict[str, dict[str, float]]:
    """Median and best time of each question, seconds."""
    return {
        "dyno history, the whole command": timed(lambda: command(runs, "history")),
        "dyno history --model, the whole command": timed(lambda: command(runs, "history", "--model", "model-3")),
        "dyno sql by model over requests, the whole command": timed(lambda: command(runs, "sql", BY_MODEL)),
        "dyno sql by class over verdicts, the whole command": timed(lambda: command(runs, "sql", BY_CLASS)),
        "dyno --version, the whole command": timed(lambda: command(None, "--version")),
        "by model, opening the runs and answering": timed(lambda: answered(runs, BY_MODEL)),
        "by class, opening the runs and answering": timed(lambda: answered(runs, BY_CLASS)),
    }


def answered(runs: Path, sql: str) -> None:
    with History(runs, views=("runs", "requests", "verdicts")) as history:
        assert history.ask(sql).rows
        assert not history.unkept


def command(runs: Path | None, *words: str) -> None:
    place = ("--runs", str(runs)) if runs else ()
    run = [sys.executable, "-m", "harness.cli", *words, *place]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(run, env=environment, check=True, stdout=subprocess.DEVNULL)


def timed(work: object) -> dict[str, float]:
    assert callable(work)
    spans: list[float] = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        spans.append(time.perf_counter() - start)
    return {"median_s": round(statistics.median(spans), 3), "best_s": round(min(spans), 3)}


if __name__ == "__main__":
    main()
