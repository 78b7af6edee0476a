"""What driving llama-cpp-python through dyno costs: decode time a token beside the library's own loop without dyno.

Both hold the bundled model in a process of their own and generate the same number of tokens in turn; the ratio is taken
round by round, so that a machine whose speed drifts does not decide it. Run: `make bench`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import msgspec

from backends import parse_target
from backends.base import Forced, Request
from backends.llama_cpp import open_engine
from backends.workers.worker_engine import WorkerEngine
from profiler.measure import measure

MODEL = Path(__file__).parents[1] / "profiles" / "models" / "tiny" / "tiny-f16.gguf"

BARE = """
import sys, time
from llama_cpp import Llama
model, threads, tokens = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
llama = Llama(model_path=model, n_ctx=4096, n_threads=threads, n_threads_batch=threads, verbose=False)
prompt = llama.tokenize(b"<|im_start|>user\\nCount.<|im_end|>\\n<|im_start|>assistant\\n", special=True)
print("ready", flush=True)
for line in sys.stdin:
    llama.reset()
    first = None
    for count, _ in enumerate(llama.generate(prompt, temp=0.0), 1):
        now = time.perf_counter_ns()
        first = first or now
        if count == tokens:
            break
    print((now - first) / (tokens - 1), flush=True)
"""


def main() -> None:
    """Print one JSON object: ns a token of both, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    print(json.dumps(compare(arguments.tokens, arguments.rounds, arguments.threads), indent=2))


def compare(tokens: int, rounds: int, threads: int) -> dict[str, float | int]:
    """Alternate rounds of both; a first round of each is warm-up and thrown away."""
    engine = open_engine(parse_target(f"llama-cpp:{MODEL}?ctx=4096&threads={threads}"))
    through_dyno: list[float] = []
    bare: list[float] = []
    # Forced, so that the model cannot end its reply early; the sampler runs for a forced token all the same.
    reply = {"role": "assistant", "content": " ".join(str(n) for n in range(tokens))}
    request = Request(({"role": "user", "content": "Count."},))
    with closing(engine):
        whole = engine.forced(request, reply)
        assert whole is not None
        forced = msgspec.structs.replace(whole, token_ids=whole.token_ids[: tokens - 1])
        command = [sys.executable, "-c", BARE, str(MODEL), str(threads), str(tokens)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdout.readline()
            for _ in range(rounds + 1):
                process.stdin.write("\n")
                process.stdin.flush()
                bare.append(float(process.stdout.readline()))
                through_dyno.append(decode_ns_per_token(engine, request, forced))
            process.stdin.close()
    ratios = [a / b for a, b in zip(through_dyno[1:], bare[1:], strict=True)]
    return {
        "tokens": tokens,
        "rounds": rounds,
        "threads": threads,
        "dyno_ns_per_token": round(statistics.median(through_dyno[1:])),
        "bare_ns_per_token": round(statistics.median(bare[1:])),
        "ratio_median": round(statistics.median(ratios), 3),
        "ratio_min": round(min(ratios), 3),
        "ratio_max": round(max(ratios), 3),
    }


def decode_ns_per_token(engine: WorkerEngine, request: Request, forced: Forced) -> float:
    """One cold request through dyno: what its record says a token took."""
    engine.reset()
    measured = measure(engine, msgspec.structs.replace(request, forced=forced))
    evidence = measured.evidence
    assert measured.error is None
    assert evidence.decode_ns is not None
    assert evidence.generated_tokens is not None
    return evidence.decode_ns / (evidence.generated_tokens - 1)


if __name__ == "__main__":
    main()
