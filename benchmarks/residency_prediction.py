"""How near predictions of memory come: predicted against measured bytes that cannot be reclaimed, on real engines.

Measured are `Pss_Anon + Pss_Shmem` of the engine's processes after a first prompt that fills the context, or a part of
it, with one thread on CPUs. What an engine's program takes without a model is measured once for each engine, from one
load that is no row of the table. Checkpoints that llama-server took meanwhile, by its log, are added with their
predicted size.

    python -m benchmarks.residency_prediction [--only TEXT] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from backends import open_engine, open_planner, parse_target
from backends.abilities import Planner
from backends.base import Engine, Evidence, Request, Target
from benchmarks.larger_models import WRITERS
from profiler.fit.base import MemoryPrediction
from profiler.fit.engine_plan import EnginePlan, engine_plan
from profiler.fit.growth import checkpoint_bytes, server_growth
from profiler.fit.prediction import Runtime, predict_memory, runtime_of
from profiler.machine import machine, versions
from profiler.model_file import read_model
from profiler.residency.linux import LinuxProcesses
from profiler.residency.sampler import Tree
from tests.backends.random_models import write_mamba, write_swa, write_wide
from tests.tiny_model.architectures import write_hybrid, write_sliding_window
from tests.tiny_model.templates import FOLDER

CALIBRATION = ("tiny-q8_0", "ctx=3072")
WORDS = "word number of lines "
ROOM_TOKENS = 24
MEDIAN_LIMIT, WORST_LIMIT = 0.03, 0.10

BOTH = ("llama-cpp", "llama-server")
SERVER = ("llama-server",)
LIBRARY = ("llama-cpp",)


class Setting(msgspec.Struct, frozen=True):
    """A model with options, for engines; `fill` is the share of a slot's context that the prompt fills."""

    model: str
    options: str
    engines: tuple[str, ...] = BOTH
    fill: float = 1.0


SETTINGS = (
    *(Setting(f"tiny-{quant}", f"ctx={ctx}") for quant in ("f16", "q8_0", "q4_k_m", "q2_k") for ctx in (2048, 8192)),
    *(Setting("tiny-q4_k_m", f"ctx=4096&kv={kv}") for kv in ("q8_0", "q4_0")),
    *(Setting("tiny-f16", f"ctx={ctx}&slots=4", SERVER) for ctx in (8192, 32768)),
    *(Setting(model, "ctx=8192") for model in ("tiny-window", "tiny-hybrid", "byte-window", "byte-recurrent")),
    *(Setting(model, "ctx=8192&slots=4", SERVER) for model in ("tiny-window", "tiny-hybrid", "byte-recurrent")),
    Setting("tiny-window", "ctx=8192&swa_full=off", LIBRARY),
    Setting("byte-wide", "ctx=4096"),
    Setting("vocabulary-152k", "ctx=8192"),
    Setting("heavy-q4_0", "ctx=2048"),
    Setting("heavy-q4_k_m", "ctx=2048&flash_attn=on", fill=0.5),
    Setting("heavy-q4_k_m", "ctx=4096&kv=q8_0", fill=0.25),
    Setting("deep-cache-f16", "ctx=4096"),
    *(Setting("deep-cache-f16", f"ctx=8192&kv={kv}", SERVER, 0.25) for kv in ("f16", "q8_0", "q4_0")),
    *(Setting("deep-cache-f16", f"ctx={ctx}&flash_attn=on", LIBRARY, 0.125) for ctx in (8192, 16384)),
    Setting("deep-cache-f16", "ctx=16384&slots=4", SERVER, 0.5),
    Setting("deep-cache-f16", "ctx=32768", SERVER, 0.0625),
    Setting("deep-cache-f16", "ctx=32768&kv=q8_0", fill=0.03125),
    Setting("windowed-f16", "ctx=4096"),
    Setting("windowed-f16", "ctx=8192&swa_full=off&flash_attn=on", LIBRARY, 0.5),
    Setting("windowed-f16", "ctx=32768", SERVER, 0.125),
    Setting("windowed-f16", "ctx=16384&slots=4", SERVER, 0.5),
    Setting("hybrid-f16", "ctx=4096"),
    Setting("hybrid-f16", "ctx=16384&slots=4", SERVER),
    Setting("recurrent-f16", "ctx=2048&slots=1", SERVER),
    Setting("recurrent-f16", "ctx=2048", LIBRARY),
    Setting("recurrent-f16", "ctx=8192&slots=4", SERVER),
    Setting("tiny-f16", "ctx=16384", SERVER),
)


class Row(msgspec.Struct, frozen=True):
    """One load: bytes, and the tokens of the prompt and of a slot's context."""

    engine: str
    model: str
    options: str
    context_tokens: int
    prompt_tokens: int
    predicted_bytes: int
    checkpoints: int
    measured_bytes: int
    loaded_bytes: int
    parts_bytes: dict[str, int]

    @property
    def error(self) -> float:
        """Predicted over measured, minus 1."""
        return self.predicted_bytes / self.measured_bytes - 1


class Bench:
    """The models, written when they are first needed, and for each engine a planner and what its program takes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._planners: dict[str, Planner] = {}
        self._runtimes: dict[str, Runtime] = {}

    def row(self, setting: Setting, engine: str) -> Row:
        if engine not in self._runtimes:
            self._runtimes[engine] = self._calibrated(engine)
        target = self._target(engine, setting.model, setting.options)
        plan = self._plan(target)
        predicted = _predicted(target, plan, self._runtimes[engine])
        slot_tokens = plan.context_tokens // max((c.streams for c in plan.caches), default=plan.sequences)
        loaded_bytes, used_bytes, told = measured(target, round(slot_tokens * setting.fill))
        taken = sum("created context checkpoint" in line for line in told.log)
        held: Counter[str] = Counter()
        for part in predicted.parts:
            if not part.reclaimable and not part.at_most:
                held[part.what] += part.bytes
        return Row(
            engine=engine,
            model=setting.model,
            options=setting.options,
            context_tokens=slot_tokens,
            prompt_tokens=told.prompt_tokens or 0,
            predicted_bytes=predicted.must_have_bytes + taken * checkpoint_bytes(plan),
            checkpoints=taken,
            measured_bytes=used_bytes,
            loaded_bytes=loaded_bytes,
            parts_bytes=dict(held),
        )

    def runtimes(self) -> dict[str, int]:
        return {engine: runtime.host_bytes for engine, runtime in self._runtimes.items()}

    def close(self) -> None:
        for planner in self._planners.values():
            planner.close()

    def _calibrated(self, engine: str) -> Runtime:
        model, options = CALIBRATION
        target = self._target(engine, model, options)
        plan = self._plan(target)
        _, used_bytes, _ = measured(target, plan.context_tokens)
        return runtime_of(_predicted(target, plan, None), used_bytes, f"{model}?{options}")

    def _target(self, engine: str, model: str, options: str) -> Target:
        return parse_target(f"{engine}:{self._file(model)}?{options}&threads=1")

    def _file(self, model: str) -> Path:
        bundled, file = FOLDER / f"{model}.gguf", self._folder / f"{model}.gguf"
        if bundled.exists() or file.exists():
            return bundled if bundled.exists() else file
        return (WRITERS | SMALL_WRITERS)[model](file)

    def _plan(self, target: Target) -> EnginePlan:
        if target.engine not in self._planners:
            self._planners[target.engine] = open_planner(target.engine)
        plan = engine_plan(self._planners[target.engine].plan(target))
        assert plan is not None
        return plan


def _predicted(target: Target, plan: EnginePlan, runtime: Runtime | None) -> MemoryPrediction:
    growth, unlimited = server_growth(target.options, plan) if target.engine == "llama-server" else ((), ())
    model = read_model(str(target.model))
    return predict_memory(model, plan=plan, growth=growth, unlimited=unlimited, runtime=runtime)


def measured(target: Target, fill_tokens: int) -> tuple[int, int, Evidence]:
    """Bytes that cannot be reclaimed after loading and after a prompt of about `fill_tokens`; what was said of it."""
    with closing(open_engine(target)) as engine:
        loaded_bytes = held_bytes(engine)
        told = Evidence()
        for event in engine.stream(Request(({"role": "user", "content": text_of(engine, fill_tokens)},), max_tokens=2)):
            if isinstance(event, Evidence):
                told = event
        return loaded_bytes, held_bytes(engine), told


def text_of(engine: Engine, tokens: int) -> str:
    """A text whose prompt has nearly `tokens` tokens."""

    def length(text: str) -> int:
        prompt = engine.render(Request(({"role": "user", "content": text},)))
        assert prompt is not None
        return len(prompt.token_ids)

    template, hundred = length(""), length(WORDS * 100)
    return WORDS * max(1, (tokens - ROOM_TOKENS - template) * 100 // (hundred - template))


def held_bytes(engine: Engine) -> int:
    """`Pss_Anon + Pss_Shmem` of the engine's processes."""
    processes = LinuxProcesses()
    read = Tree(processes.read, processes.children).read(engine.pids(), 0).values()
    assert all(memory.source == "smaps_rollup" for memory in read)
    return sum(memory.must_have_bytes or 0 for memory in read)


SMALL_WRITERS: dict[str, Callable[[Path], Path]] = {
    "tiny-window": write_sliding_window,
    "tiny-hybrid": write_hybrid,
    "byte-window": write_swa,
    "byte-recurrent": write_mamba,
    "byte-wide": write_wide,
}


def rows(bench: Bench, only: str) -> Iterator[Row]:
    for setting in SETTINGS:
        for engine in setting.engines:
            if only in f"{engine}:{setting.model}?{setting.options}":
                yield bench.row(setting, engine)


def line(row: Row) -> str:
    mib = 1 << 20
    cells = (
        row.engine,
        row.model,
        row.options.replace("&", " "),
        f"{row.prompt_tokens:,} of {row.context_tokens:,}",
        f"{row.predicted_bytes / mib:.1f}",
        f"{row.measured_bytes / mib:.1f}",
        f"{row.error:+.1%}",
    )
    return f"| {' | '.join(cells)} |"


def summary(taken: Sequence[Row], runtimes: dict[str, int]) -> dict[str, Any]:
    errors = [abs(row.error) for row in taken]
    return {
        "rows": len(taken),
        "median_error": round(statistics.median(errors), 4),
        "worst_error": round(max(errors), 4),
        "limits": {"median": MEDIAN_LIMIT, "worst": WORST_LIMIT},
        "runtime_bytes": runtimes,
        "calibration": "?".join(CALIBRATION),
    }


def document(taken: Sequence[Row], runtimes: dict[str, int]) -> dict[str, Any]:
    loads = [msgspec.to_builtins(row) | {"error": round(row.error, 4)} for row in taken]
    of_machine = {"machine": msgspec.to_builtins(machine()), "versions": versions()}
    return {**summary(taken, runtimes), **of_machine, "loads": loads}


def main() -> int:
    """Print a row for each load as it is measured, then the summary; exit status 1 beyond the limits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="rows whose engine:model?options hold this text")
    parser.add_argument("--json", type=Path, help="write everything there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dyno-models-") as folder, closing(Bench(Path(folder))) as bench:
        print("| engine | model | options | prompt, tokens | predicted MiB | measured MiB | error |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        taken: list[Row] = []
        for row in rows(bench, arguments.only):
            taken.append(row)
            print(line(row), flush=True)
            if arguments.json is not None:
                # As each is measured: it takes a quarter of an hour.
                arguments.json.write_text(json.dumps(document(taken, bench.runtimes()), indent=1) + "\n")
        if not taken:
            parser.error(f"no row holds {arguments.only!r}")
        summed = summary(taken, bench.runtimes())
    print(json.dumps(summed))
    return int(summed["median_error"] > MEDIAN_LIMIT or summed["worst_error"] > WORST_LIMIT)


if __name__ == "__main__":
    sys.exit(main())
