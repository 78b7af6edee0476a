"""Whether dyno's quality figures are llama-perplexity's, and what they cost: the bundled model's quants, one text.

`llama-perplexity` (its path as an argument, else from PATH) should be of the sources that llama-cpp-python vendors:

    cmake -S vendor/llama.cpp -B build -DCMAKE_BUILD_TYPE=Release -DLLAMA_CURL=OFF
    cmake --build build --target llama-perplexity

Both sides load the model from a file in a new process for each round, so load time is in both; rounds alternate.
Figures that its base file cannot hold exactly (the reference's perplexity, and what is made of it) are shown and not
judged: `--save-all-logits` lifts every log-probability to at least 16 nats below the best token's. With `--mlx` the MLX
copies of the same weights are scored on the first chunks, beside the GGUF files on the same ones.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, redirect_stdout
from pathlib import Path
from typing import Any

from backends import open_scorer, parse_target
from profiler.quality import chunks as chunking
from profiler.quality import scoring
from profiler.quality.base import ChunkScores
from profiler.quality.chunks import Chunks
from profiler.quality.reference_file import Reference
from profiler.quality.summary import interval, summarise, token_errors

MODELS = Path(__file__).parents[1] / "profiles" / "models" / "tiny"
ROWS = (
    ("q8_0", "q8_0", "f16"),
    ("q4_k_m", "q4_k_m", "f16"),
    ("q2_k", "q2_k", "f16"),
    ("f16 kv=q8_0", "f16", "q8_0"),
    ("f16 kv=q4_0", "f16", "q4_0"),
)
"""Name, file and type of KV cache. The first three evaluate without flash attention, a quantised cache needs it."""

MLX_QUANTS: tuple[tuple[str, int, int], ...] = (
    ("mlx 8-bit g64", 8, 64),
    ("mlx 4-bit g64", 4, 64),
    ("mlx 3-bit g64", 3, 64),
)

_FIGURES = {
    "perplexity": r"Mean PPL\(Q\) +: +([\d.]+) ± +([\d.]+)",
    "reference_perplexity": r"Mean PPL\(base\) +: +([\d.]+) ± +([\d.]+)",
    "log_perplexity_ratio": r"Mean ln\(PPL\(Q\)/PPL\(base\)\) +: +(-?[\d.]+) ± +([\d.]+)",
    "kld": r"Mean +KLD: +(-?[\d.]+) ± +([\d.]+)",
    "rms_delta_p": r"RMS Δp +: +([\d.]+) ± +([\d.]+)",
    "same_top": r"Same top p: +([\d.]+) ± +([\d.]+)",
}
_PERCENT = ("rms_delta_p", "same_top")
JUDGED = ("perplexity", "kld", "same_top")
MOST_DIFFERENCE = 0.01
MOST_TIME = 1.5

MOST_TRIES = 10

Row = dict[str, Any]
Took = tuple[float, float]
Figures = dict[str, tuple[float, float]]
"""Value and standard error (over tokens) by name."""


def main() -> int:
    """Write the JSON to standard output and the table to standard error; 1 if a figure or the time does not agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama-perplexity", default=shutil.which("llama-perplexity"))
    parser.add_argument("--chunks", type=int, default=None, help="the first chunks of the text; all by default")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--mlx", type=int, default=0, metavar="CHUNKS", help="score MLX copies on so many chunks too")
    arguments = parser.parse_args()
    if arguments.llama_perplexity is None:
        print("skipped: no llama-perplexity on PATH; build it (see above) and give its path", file=sys.stderr)
        return 0
    with tempfile.TemporaryDirectory() as place:
        bench = Bench(Path(place), arguments.llama_perplexity, arguments.threads, arguments.chunks)
        rows = [bench.row(*row, arguments.rounds if number == 1 else 1) for number, row in enumerate(ROWS)]
        mlx = list(mlx_rows(bench, arguments.mlx)) if arguments.mlx else []
        result = {
            "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
            "text": chunking.BUNDLED_TEXT.name,
            "chunks": len(bench.chunks),
            "scored_tokens": len(bench.chunks) * bench.chunks.scored_tokens,
            "threads": arguments.threads,
            "load_included": True,
            "own_file_kld": bench.reference("off").footer.own_kld,
            "commands": [" ".join(command).replace(place, "$PLACE") for command in bench.commands.values()],
            "rows": rows,
            "mlx_chunks": arguments.mlx,
            "mlx_rows": mlx,
        }
    print(json.dumps(result, indent=2).replace(str(MODELS), MODELS.relative_to(MODELS.parents[2]).as_posix()))
    print(table(rows, mlx), file=sys.stderr)
    return 0 if all(row["agrees"] and row["time_ratio"] <= MOST_TIME for row in rows) else 1


class Clock:
    """Seconds since it was made: on the wall, and of all processors for this process and those that ended since."""

    def __init__(self) -> None:
        self._began = self._now()

    def read(self) -> Took:
        """Both."""
        wall, cpu = (now - then for now, then in zip(self._now(), self._began, strict=True))
        return round(wall, 2), round(cpu, 2)

    @staticmethod
    def _now() -> Took:
        used = os.times()
        return time.perf_counter(), used.user + used.system + used.children_user + used.children_system


class Bench:
    """The text, the references of both sides, and the work that is compared."""

    def __init__(self, place: Path, tool: str, threads: int, most: int | None) -> None:
        self._place = place
        self._tool = tool
        self._threads = threads
        self._text = place / "text.txt"
        self._text.write_text(chunking.read_text(), encoding="utf-8")
        self._references: dict[str, Reference] = {}
        self._own: dict[str, float] = {}
        self._base_rounds: dict[str, tuple[float, float]] = {}
        self.commands: dict[str, list[str]] = {}
        with closing(open_scorer(parse_target(self.target("f16", "f16", "off")))) as scorer:
            self.chunks = chunking.of_text(scorer, self._text.read_text(encoding="utf-8"), most=most)

    def target(self, name: str, kv: str, flash: str) -> str:
        return f"llama-cpp:{MODELS / f'tiny-{name}.gguf'}?threads={self._threads}&kv={kv}&flash_attn={flash}"

    def reference(self, flash: str) -> Reference:
        """The F16 file's log-probabilities on our side; llama-perplexity writes its own at the same time."""
        if flash not in self._references:
            started = time.perf_counter()
            options = ("-f", str(self._text), "--save-all-logits", self._base(flash))
            self._run(f"base {flash}", "f16", "f16", flash, *options)
            between = time.perf_counter()
            with closing(open_scorer(parse_target(self.target("f16", "f16", flash)))) as scorer:
                files = (MODELS / "tiny-f16.gguf",)
                self._references[flash] = scoring.reference_of(scorer, self.chunks, files, self._place / flash)
            self._base_rounds[flash] = (time.perf_counter() - between, between - started)
        return self._references[flash]

    def row(self, name: str, file: str, kv: str, rounds: int) -> Row:
        """Both sides' figures of one candidate, and their times in alternating rounds."""
        flash = "off" if kv == "f16" else "on"
        reference = self.reference(flash)
        our_times: list[Took] = []
        their_times: list[Took] = []
        scored: list[ChunkScores] = []
        theirs: Figures = {}
        # The order turns with each round, so that a machine whose speed drifts favours neither.
        for number in range(2 * rounds):
            if number % 4 in (0, 3):
                theirs, took = self._divergence(name, file, kv, flash)
                their_times.append(took)
            else:
                clock = Clock()
                with closing(open_scorer(parse_target(self.target(file, kv, flash)))) as scorer:
                    scored = list(scoring.scores(scorer, self.chunks, reference))
                our_times.append(clock.read())
        pairs = list(zip(our_times, their_times, strict=True))
        ours = figures(scored)
        own_error = self._own_error(flash)
        differences = {key: relative(ours[key][0], theirs[key][0]) for key in ours}
        agrees = all(
            abs(differences[key]) <= MOST_DIFFERENCE
            or (key == "kld" and abs(ours["kld"][0] - theirs["kld"][0]) <= own_error + 5e-7)
            for key in JUDGED
        )
        return {
            "name": name,
            "model": f"tiny-{file}.gguf",
            "kv": kv,
            "flash_attn": flash,
            "dyno": ours,
            "llama_perplexity": theirs,
            "relative_difference": differences,
            "agrees": agrees,
            "dyno_wall_cpu_s": our_times,
            "llama_perplexity_wall_cpu_s": their_times,
            "time_ratio": round(statistics.median(a[0] / b[0] for a, b in pairs), 3),
            "cpu_ratio": round(statistics.median(a[1] / b[1] for a, b in pairs), 3),
            "llama_perplexity_own_kld": own_error,
            "reference_wall_s": [round(s, 2) for s in self._base_rounds[flash]],
        }

    def _own_error(self, flash: str) -> float:
        """KLD of llama-perplexity's F16 file from its own base: what its file costs."""
        if flash not in self._own:
            self._own[flash] = abs(self._divergence(f"own {flash}", "f16", "f16", flash)[0]["kld"][0])
        return self._own[flash]

    def _divergence(self, name: str, file: str, kv: str, flash: str) -> tuple[Figures, Took]:
        """What llama-perplexity says of a candidate, and how long it took.

        It may end before its log is written out to the last line; then it is asked again.
        """
        said = ""
        for _ in range(MOST_TRIES):
            clock = Clock()
            said = self._run(name, file, kv, flash, "--kl-divergence", "--kl-divergence-base", self._base(flash))
            took = clock.read()
            if (found := read(said)) is not None:
                return found, took
        raise SystemExit(f"llama-perplexity did not print its figures:\n{said[-2000:]}")

    def _base(self, flash: str) -> str:
        return str(self._place / f"base-{flash}.kld")

    def _run(self, name: str, file: str, kv: str, flash: str, *options: str) -> str:
        command = [self._tool, "-m", str(MODELS / f"tiny-{file}.gguf"), "-c", "512", "-b", "2048", "-ub", "512"]
        command += ["-t", str(self._threads), "-fa", flash, "-ctk", kv, "-ctv", kv, "--chunks", str(len(self.chunks))]
        self.commands[name] = [Path(command[0]).name, *command[1:], *options]
        done = subprocess.run([*command, *options], capture_output=True, check=True)
        return (done.stdout + done.stderr).decode("utf-8", "replace")


def mlx_rows(bench: Bench, count: int) -> Iterator[Row]:
    """The same measures for MLX copies of the F16 weights and for the GGUF quants, on the first chunks."""
    from mlx_lm import convert  # noqa: PLC0415 - a heavy library that only this part needs

    from tests.tiny_model.export import write_hf_folder  # noqa: PLC0415 - likewise

    few = bench.chunks.head(count)
    with tempfile.TemporaryDirectory() as place:
        with closing(open_scorer(parse_target(bench.target("f16", "f16", "off")))) as scorer:
            reference = scoring.reference_of(scorer, few, (MODELS / "tiny-f16.gguf",), Path(place))
        for name in ("f16", "q8_0", "q4_k_m", "q2_k"):
            yield scored_row(f"gguf {name}", bench.target(name, "f16", "off"), few, reference)
        whole = write_hf_folder(MODELS / "tiny-f16.gguf", Path(place) / "f32")
        yield scored_row("mlx f32", f"mlx:{whole}", few, reference)
        for name, bits, group in MLX_QUANTS:
            folder = Path(place) / f"{bits}-bit"
            with redirect_stdout(sys.stderr):
                convert(str(whole), str(folder), quantize=True, q_bits=bits, q_group_size=group, dtype="float32")
            yield scored_row(name, f"mlx:{folder}", few, reference)


def scored_row(name: str, target: str, chunks: Chunks, reference: Reference) -> Row:
    with closing(open_scorer(parse_target(target))) as scorer:
        scored = list(scoring.scores(scorer, chunks, reference))
        floor = scoring.noise_floor(scorer, chunks, count=2)
    quality = summarise("tiny-f16.gguf", scored, floor=floor)
    return {
        "name": name,
        "dyno": figures(scored),
        "kld_interval_over_chunks": interval(quality.kld),
        "floor": floor.value,
    }


def figures(scored: Sequence[ChunkScores]) -> Figures:
    """Value and token-level error of each figure, shares in percent as llama-perplexity prints them."""
    quality, errors = summarise("tiny-f16.gguf", scored), token_errors(scored)
    assert errors is not None
    found = {key: (getattr(quality, key).value, getattr(errors, key)) for key in _FIGURES}
    return {k: (100 * v[0], 100 * v[1]) if k in _PERCENT else v for k, v in found.items()}


def read(said: str) -> Figures | None:
    """The figures that llama-perplexity printed; `None` if some are missing."""
    found = {key: re.search(pattern, said) for key, pattern in _FIGURES.items()}
    figures = {key: (float(match[1]), float(match[2])) for key, match in found.items() if match}
    return figures if len(figures) == len(found) else None


def relative(ours: float, theirs: float) -> float:
    return (ours - theirs) / theirs if theirs else 0.0 if ours == theirs else float("inf")


def table(rows: Sequence[Row], mlx: Sequence[Row]) -> str:
    """Both sides beside each other, and the MLX copies, in Markdown."""
    lines = ["| candidate | figure | dyno | llama-perplexity | difference |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        for key in _FIGURES:
            ours, theirs = row["dyno"][key], row["llama_perplexity"][key]
            sides = [f"{value:.6f} ± {error:.6f}" for value, error in (ours, theirs)]
            difference = f"{100 * row['relative_difference'][key]:+.3f} %"
            lines.append(_line(row["name"], key + (" *" if key in JUDGED else ""), *sides, difference))
        for number, kind in enumerate(("time", "cpu")):
            both = (row["dyno_wall_cpu_s"], row["llama_perplexity_wall_cpu_s"])
            times = [f"{statistics.median(took[number] for took in side):.2f} s" for side in both]
            lines.append(_line(row["name"], kind, *times, f"ratio {row[f'{kind}_ratio']}"))
    if mlx:
        names = list(_FIGURES)
        lines += ["", _line("candidate", *names, "floor"), "| --- " * (len(names) + 2) + "|"]
    for row in mlx:
        lines.append(_line(row["name"], *(f"{value:.5f}" for value, _ in row["dyno"].values()), f"{row['floor']:.2g}"))
    return "\n".join(lines)


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
