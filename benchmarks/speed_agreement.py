"""Whether dyno's decode and prefill rates are llama-bench's: ratios within one run, round by round, at the same depths.

Both load the same llama.cpp: llama-bench is run on the shared libraries inside the llama-cpp-python package
(`--libraries`), so not even the compiler differs. Threads, batches, KV type and flash attention are set alike. dyno
holds the model in its worker, and measures as `dyno quant` does (`harness.quant.depths`); its decoding samples each
token and hands it over, llama-bench's picks tokens at random. What that costs is told in µs a token beside the ratio,
and a third party shows that it is this and nothing else: llama-cpp-python alone in a process, timed inside
`llama_decode` only (`--calls`), with tokens picked at random too.

    python -m benchmarks.speed_agreement --llama-bench PATH --rounds 5 --out benchmarks/results/NAME.json
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from backends import open_engine, parse_target
from harness.quant.depths import DepthPlan, measure_depths
from profiler.machine import machine
from tests.backends.random_models import write_wide

TINY = Path(__file__).parents[1] / "profiles" / "models" / "tiny"
BATCH_TOKENS = 512

CALLS = """
import json, random, sys, time
from llama_cpp import Llama
model, flash = sys.argv[1], sys.argv[4] == "on"
threads, batch, context, prefill, decode = (int(sys.argv[index]) for index in (2, 3, 5, 7, 8))
depths = json.loads(sys.argv[6])
llama = Llama(model_path=model, n_ctx=context, n_batch=batch, n_ubatch=batch, n_threads=threads,
              n_threads_batch=threads, flash_attn=flash, verbose=False)
spent, inner = [0], llama._ctx.decode
def timed(batch):
    before = time.perf_counter_ns()
    inner(batch)
    spent[0] += time.perf_counter_ns() - before
llama._ctx.decode = timed
def tokens(count):
    return [random.randrange(llama.n_vocab()) for _ in range(count)]
def rate(depth, count, one_by_one):
    llama.reset()
    if depth:
        llama.eval(tokens(depth))
    spent[0] = 0
    for token in tokens(count) if one_by_one else [None]:
        llama.eval([token] if one_by_one else tokens(count))
    return count * 1e9 / spent[0]
print("ready", flush=True)
for line in sys.stdin:
    print(json.dumps([[rate(depth, prefill, False), rate(depth, decode, True)] for depth in depths]), flush=True)
"""

Rates = dict[tuple[str, int], float]
"""Tokens per second by what (`decode`, `prefill`) and depth in tokens."""


class Party(Protocol):
    """One of those that take turns."""

    def run(self) -> Rates:
        """One measurement of each test."""
        ...


def main() -> None:
    """Print one JSON object, and write it to `--out`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama-bench", type=Path, default=shutil.which("llama-bench"), help="default: that on PATH")
    parser.add_argument("--libraries", type=Path, help="folder of libllama; default: the package's own")
    parser.add_argument("--model", type=Path, action="append", help="default: bundled f16 and q4_k_m, and 100 MiB")
    parser.add_argument("--depth", type=int, action="append", help="tokens; default: 0 and 1024")
    parser.add_argument("--prefill", type=int, default=512)
    parser.add_argument("--decode", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--calls", action=argparse.BooleanOptionalAction, default=True, help="the third party")
    parser.add_argument("--flash-attn", choices=("on", "off"), action="append", help="default: both")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.llama_bench is None:
        print(
            "skipped: no llama-bench on PATH; build it from the sources that llama-cpp-python vendors", file=sys.stderr
        )
        return
    plan = DepthPlan(tuple(arguments.depth or (0, 1024)), arguments.prefill, arguments.decode)
    with tempfile.TemporaryDirectory() as folder:
        wide = [] if arguments.model else [write_wide(Path(folder, "wide-f32.gguf"))]
        models = arguments.model or [TINY / "tiny-f16.gguf", TINY / "tiny-q4_k_m.gguf", *wide]
        result: dict[str, Any] = {
            "machine": f"{machine().cpu}, {machine().cores_logical} cores",
            "load_average": os.getloadavg()[0],
            "threads": arguments.threads,
            "rounds": arguments.rounds,
            "prefill_tokens": plan.prefill_tokens,
            "decode_tokens": plan.decode_tokens,
            "batch_tokens": BATCH_TOKENS,
            "rows": [],
        }
        for model in models:
            for flash in arguments.flash_attn or ("off", "on"):
                case = Case(model, plan, arguments.threads, flash)
                bench = LlamaBench(case, arguments.llama_bench, arguments.libraries or packaged())
                rows = compare(case, arguments.rounds, bench, calls=arguments.calls)
                result["llama_bench"] = bench.build
                result["rows"] += rows
                for row in rows:
                    print(json.dumps(row), file=sys.stderr, flush=True)
                if arguments.out:
                    # Written after each model: a long run that is ended keeps what it measured.
                    arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


def packaged() -> Path:
    """The folder of the shared libraries that llama-cpp-python brings."""
    found = importlib.util.find_spec("llama_cpp")
    assert found is not None, "llama-cpp-python is not installed"
    assert found.origin is not None
    return Path(found.origin).parent / "lib"


class Case(NamedTuple):
    """What is measured by all alike."""

    model: Path
    plan: DepthPlan
    threads: int
    flash: str

    @property
    def context_tokens(self) -> int:
        """Room for the deepest test."""
        return max(self.plan.depths_tokens) + self.plan.prefill_tokens + self.plan.decode_tokens + 256


class LlamaBench:
    """llama-bench with fixed arguments; each run loads the model, warms up and measures every test once."""

    def __init__(self, case: Case, program: Path, libraries: Path) -> None:
        self.build = ""
        depths = ",".join(map(str, case.plan.depths_tokens))
        self._command = [
            *(str(program), "-m", str(case.model), "-p", str(case.plan.prefill_tokens)),
            *("-n", str(case.plan.decode_tokens), "-d", depths, "-t", str(case.threads)),
            *("-b", str(BATCH_TOKENS), "-ub", str(BATCH_TOKENS), "-ctk", "f16", "-ctv", "f16"),
            *("-fa", case.flash, "-r", "1", "-o", "jsonl"),
        ]
        self._environment = os.environ | {"LD_LIBRARY_PATH": str(libraries)}

    def run(self) -> Rates:
        """One measurement of each test."""
        done = subprocess.run(self._command, env=self._environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"llama-bench failed:\n{done.stderr}")
        rates: Rates = {}
        for line in done.stdout.splitlines():
            test = json.loads(line)
            self.build = f"{test['build_commit']} ({test['build_number']}), {test['cpu_info']}, {test['backends']}"
            rates["decode" if test["n_gen"] else "prefill", test["n_depth"]] = test["avg_ts"]
        return rates


class Calls:
    """llama-cpp-python without dyno, timed inside `llama_decode`."""

    def __init__(self, case: Case) -> None:
        self._depths = case.plan.depths_tokens
        command = [sys.executable, "-c", CALLS, str(case.model), str(case.threads), str(BATCH_TOKENS), case.flash]
        command += [str(case.context_tokens), json.dumps(self._depths)]
        command += [str(case.plan.prefill_tokens), str(case.plan.decode_tokens)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._line()

    def run(self) -> Rates:
        """One measurement of each test."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        rates: Rates = {}
        for depth, (prefill, decode) in zip(self._depths, json.loads(self._line()), strict=True):
            rates["prefill", depth], rates["decode", depth] = prefill, decode
        return rates

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


class Dyno:
    """dyno's engine, loaded once."""

    def __init__(self, case: Case) -> None:
        options = f"ctx={case.context_tokens}&threads={case.threads}&batch={BATCH_TOKENS}&ubatch={BATCH_TOKENS}"
        self._engine = open_engine(parse_target(f"llama-cpp:{case.model}?{options}&flash_attn={case.flash}"))
        self._plan = case.plan
        self._runs = 0

    def run(self) -> Rates:
        """One measurement of each test; a doubt ends the benchmark."""
        self._runs += 1
        rates: Rates = {}
        for sample in measure_depths(self._engine, self._plan, f"run {self._runs}"):
            assert sample.prefill_tokens_per_s is not None, sample.doubts
            assert sample.decode_tokens_per_s is not None, sample.doubts
            rates["prefill", sample.depth_tokens] = sample.prefill_tokens_per_s
            rates["decode", sample.depth_tokens] = sample.decode_tokens_per_s
        return rates

    def close(self) -> None:
        """End the worker."""
        self._engine.close()


def compare(case: Case, rounds: int, bench: LlamaBench, *, calls: bool) -> list[dict[str, Any]]:
    """Take turns, each first in its turn; the first round is warm-up and thrown away."""
    with ExitStack() as stack:
        parties: dict[str, Party] = {"dyno": stack.enter_context(closing(Dyno(case))), "llama_bench": bench}
        if calls:
            parties["calls"] = stack.enter_context(closing(Calls(case)))
        taken: dict[str, list[Rates]] = {name: [] for name in parties}
        order = list(parties)
        for _ in range(rounds + 1):
            for name in order:
                taken[name].append(parties[name].run())
            order.append(order.pop(0))
    return [
        row(case, key, {name: [one[key] for one in runs[1:]] for name, runs in taken.items()})
        for key in taken["llama_bench"][0]
    ]


def row(case: Case, key: tuple[str, int], rates: dict[str, list[float]]) -> dict[str, Any]:
    """What is reported of one test: medians, the ratio of each round, and what dyno's tokens take longer."""
    ours, theirs = rates["dyno"], rates["llama_bench"]
    found: dict[str, Any] = {
        "model": case.model.stem,
        "flash_attn": case.flash,
        "what": key[0],
        "depth_tokens": key[1],
        "dyno_tokens_per_s": round(statistics.median(ours), 1),
        "llama_bench_tokens_per_s": round(statistics.median(theirs), 1),
        **ratios("dyno", ours, theirs),
        "dyno_extra_us_per_token": round(
            statistics.median((1 / a - 1 / b) * 1e6 for a, b in zip(ours, theirs, strict=True)), 1
        ),
    }
    return found | (ratios("calls", rates["calls"], theirs) if "calls" in rates else {})


def ratios(name: str, ours: list[float], theirs: list[float]) -> dict[str, float]:
    """Of each round's ratio the median, least and most; and that of the best of each, which load disturbs least."""
    each = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {
        f"{name}_ratio": round(statistics.median(each), 3),
        f"{name}_ratio_min": round(min(each), 3),
        f"{name}_ratio_max": round(max(each), 3),
        f"{name}_ratio_of_best": round(max(ours) / max(theirs), 3),
    }


if __name__ == "__main__":
    main()
