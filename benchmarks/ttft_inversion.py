"""How far TTFT inversion can be trusted: a llama-server that is not let say what it reused, against what it would say.

dyno opens the run and replays the bundled sessions as it does with a silent server: calibration by cold prompts, then
an interval for each request or the reason why there is none. The server's own count, hidden from all of that, judges
the intervals. Twice: on the bundled model, and on one with random weights that is wider, whose prompts take time as
those of real models do. Replies are cut after a few tokens, since the time to the first alone is looked at.

The machine's load is part of the result: it is what widens intervals. Run: `make proofs`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import secrets
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from statistics import NormalDist

import gguf
import msgspec
import numpy as np

from backends import open_engine, parse_target
from backends.base import Engine, Event, Evidence, Facts, Prompt, Request
from harness.opening import open_run
from harness.replay import Plan, replay
from harness.sessions import bundled_sessions
from profiler.calibration import calibration_of
from profiler.inversion import COVERAGE, Calibration, Interval, invert
from profiler.ledger import Ledger
from profiler.records import RequestRecord
from profiler.verdict import END_OF_TURN_TOKENS, floor_tokens
from tests.tiny_model.export import CONTEXT, ROPE_THETA, VOCABULARY, add_tokenizer, finish
from tests.tiny_model.templates import FOLDER, STABLE

MODEL = Path(__file__).parents[1] / "profiles" / "models" / "tiny" / "tiny-f16.gguf"
LAYERS, HIDDEN, FEED_FORWARD, HEADS = 3, 512, 6144, 8
GENERATED_TOKENS = 24
"""As many as the probe asks for."""
SETTINGS = ("bundled", "wide")


class Case(msgspec.Struct, frozen=True):
    """One request: what the server reused, and what its time to first token said of it."""

    behaviour: str
    prompt_tokens: int
    cached_tokens: int
    said: Interval | str


def main() -> None:
    """Print one JSON object with a part for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=SETTINGS)
    parser.add_argument("--turns", type=int, default=8, help="of each session, at most")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    results: dict[str, object] = {"turns": arguments.turns, "threads": arguments.threads}
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.settings:
            model = MODEL if name == "bundled" else write_wide(Path(folder) / "wide.gguf")
            results[name] = run(model, arguments.turns, arguments.threads)
    print(json.dumps(results, indent=2))


def run(model: Path, turns: int, threads: int) -> dict[str, object]:
    """Calibrate, replay and compare on one model."""
    sessions = tuple(msgspec.structs.replace(s, turns=s.turns[:turns]) for s in bundled_sessions())
    nonce = secrets.token_hex(8)
    plan, ledger = Plan(sessions, nonce=nonce), Ledger()
    start = time.perf_counter_ns()
    with closing(Silent(open_engine(parse_target(f"llama-server:{model}?ctx={CONTEXT}&threads={threads}")))) as engine:
        opened = open_run(engine, plan, ledger, nonce=nonce, calibrate=True)
        calibrated = time.perf_counter_ns()
        calibration = calibration_of(opened.calibration)
        load = os.getloadavg()[0]
        if calibration is None:
            return {"calibration": None, "load_average": load}
        known: list[tuple[RequestRecord, int | None]] = []
        for record, _ in replay(engine, plan, ledger=ledger, calibration=calibration):
            known.append((record, engine.cached_tokens))
            print(f"{len(known)} of {plan.requests} requests", end="\r", file=sys.stderr)
    cases = cases_of(calibration, known)
    return {
        "model_megabytes": round(model.stat().st_size / 1e6),
        "calibration": described(calibration),
        "calibration_s": round((calibrated - start) / 1e9),
        "replay_s": round((time.perf_counter_ns() - calibrated) / 1e9),
        "load_average": [round(load, 1), round(os.getloadavg()[0], 1)],
        "without_text": len(known) - len(cases),
        "all": judged(cases),
        **{kind: judged([case for case in cases if case.behaviour == kind]) for kind in ("hit", "partial", "miss")},
    }


class Silent:
    """An engine that keeps to itself what it reused and how long it took, and cannot be made to say a given text."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.cached_tokens: int | None = None

    def stream(self, request: Request) -> Iterator[Event]:
        shorter = msgspec.structs.replace(request, max_tokens=min(request.max_tokens, GENERATED_TOKENS))
        for event in self._engine.stream(shorter):
            if isinstance(event, Evidence):
                self.cached_tokens = event.cached_tokens
                yield Evidence(prompt_tokens=event.prompt_tokens, generated_tokens=event.generated_tokens)
            else:
                yield event

    def render(self, request: Request) -> Prompt | None:
        return None

    def facts(self) -> Facts:
        return self._engine.facts()

    def pids(self) -> tuple[int, ...]:
        return self._engine.pids()

    def close(self) -> None:
        self._engine.close()


def cases_of(calibration: Calibration, known: list[tuple[RequestRecord, int | None]]) -> list[Case]:
    """What each request was, by the server's own count; a reply without text has no time to first token."""
    cases: list[Case] = []
    before: dict[tuple[str, str], int] = defaultdict(int)
    for record, cached in known:
        prompt, ttft = record.evidence.prompt_tokens, record.ttft_ns
        if prompt is None or cached is None:
            continue
        history = before[record.session, record.conversation]
        before[record.session, record.conversation] = prompt
        if ttft is None:
            continue
        # The recorded reply is not the one that was generated, so a hit takes up the prompt before and no more.
        hit = cached >= history - END_OF_TURN_TOKENS
        behaviour = "miss" if cached <= floor_tokens(prompt) else "hit" if hit and history else "partial"
        cases.append(Case(behaviour, prompt, cached, invert(calibration, prompt, ttft)))
    return cases


def judged(cases: list[Case]) -> dict[str, object]:
    """Coverage with its 95 % interval, what was withheld and why, and how wide the intervals are."""
    given = [(case, case.said) for case in cases if isinstance(case.said, Interval)]
    right = sum(said.low_tokens <= case.cached_tokens <= said.high_tokens for case, said in given)
    below = sum(case.cached_tokens < said.low_tokens for case, said in given)
    widths = [(said.high_tokens - said.low_tokens) / 2 / case.prompt_tokens for case, said in given]
    reasons = Counter(case.said.partition(":")[0] for case in cases if isinstance(case.said, str))
    return {
        "requests": len(cases),
        "given": len(given),
        "covered": right,
        "truth_below": below,
        "truth_above": len(given) - right - below,
        "coverage": round(right / len(given), 3) if given else None,
        "coverage_95": wilson(right, len(given)),
        "withheld_share": round(1 - len(given) / len(cases), 3) if cases else None,
        "withheld": dict(reasons),
        "not_covered": [
            [case.prompt_tokens, case.cached_tokens, said.low_tokens, said.high_tokens]
            for case, said in given
            if not said.low_tokens <= case.cached_tokens <= said.high_tokens
        ],
        "median_half_width_share": round(statistics.median(widths), 3) if widths else None,
    }


def wilson(successes: int, count: int) -> list[float] | None:
    """Interval of a share (Wilson, 1927)."""
    if count == 0:
        return None
    z = NormalDist().inv_cdf((1 + COVERAGE) / 2)
    share, more = successes / count, z * z / count
    middle, half = share + more / 2, z * math.sqrt(share * (1 - share) / count + more / 4 / count)
    return [round((middle - half) / (1 + more), 3), round((middle + half) / (1 + more), 3)]


def described(calibration: Calibration) -> dict[str, float | int]:
    return {
        "samples": len(calibration.samples),
        "shortest_tokens": calibration.shortest_tokens,
        "longest_tokens": calibration.longest_tokens,
        "overhead_ms": round(calibration.overhead_ns / 1e6, 2),
        "per_token_us": round(calibration.per_token_ns / 1e3, 1),
        "per_pair_ns": round(calibration.per_pair_ns, 2),
        "spread_ms": round(calibration.spread_ns / 1e6, 2),
        "spread_share": round(calibration.spread_share, 4),
        "slow_spreads": round(calibration.slow_spreads, 2),
        "fast_spreads": round(calibration.fast_spreads, 2),
        "drift_share": round(calibration.drift_share, 3),
    }


def write_wide(path: Path) -> Path:
    """A llama of 32 million random weights with the bundled model's tokenizer, template and context. Returns `path`."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("dyno-wide")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(ROPE_THETA)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_vocab_size(VOCABULARY)
    add_tokenizer(writer, FOLDER / "tokenizer.json", STABLE)
    matrices = {"token_embd": (VOCABULARY, HIDDEN)}
    norms = ["output_norm"]
    for layer in range(LAYERS):
        of_layer = {name: (HIDDEN, HIDDEN) for name in ("attn_q", "attn_k", "attn_v", "attn_output")}
        of_layer |= {name: (FEED_FORWARD, HIDDEN) for name in ("ffn_gate", "ffn_up")}
        of_layer |= {"ffn_down": (HIDDEN, FEED_FORWARD)}
        matrices |= {f"blk.{layer}.{name}": shape for name, shape in of_layer.items()}
        norms += [f"blk.{layer}.{name}" for name in ("attn_norm", "ffn_norm")]
    rng = np.random.default_rng(0)
    for name, shape in matrices.items():
        weights = rng.standard_normal(shape, dtype=np.float32) * 0.03
        writer.add_tensor(f"{name}.weight", weights.astype(np.float16))
    for name in norms:
        writer.add_tensor(f"{name}.weight", np.ones(HIDDEN, np.float32))
    finish(writer)
    return path


if __name__ == "__main__":
    main()
