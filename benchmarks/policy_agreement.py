"""How well the policy models agree with the engines: request by request, over settings, on work they never saw.

Each row launches one engine with one kind of cache and one setting and plays work on it: `sessions`, generated agent
sessions with seeds of their own, replayed with forced replies; `chats`, random chats that branch, are
edited and interleave; `ids`, the same with plain token ids and longer. The policy is told the prompts and replies, not
what was cached. «exact» counts requests whose cached tokens (and slot) are the engine's, «near» those within the
engine's granularity. Every request that is not exact is listed, with the policy's reason and the engine's log.

Run: `python -m benchmarks.policy_agreement [--engine llama-server] [--kind full] [--work ids] [--seed 100]`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import msgspec

from backends import open_engine
from backends.base import Target
from harness.session_maker.generator import KINDS, fewest_turns, generate
from harness.sessions import Session
from profiler.policies import Policy, Predicted, load
from tests.profiler.policies.chats import play, random_session
from tests.profiler.policies.engine import IdServer, sent_of
from tests.profiler.policies.workload import Shape, Workload
from tests.tiny_model.architectures import WINDOW, write_hybrid, write_sliding_window

TINY = Path(__file__).parents[1] / "profiles" / "models" / "tiny" / "tiny-f16.gguf"
CONTEXT_TOKENS = 32_768
CACHE_KINDS = ("full", "sliding_window", "recurrent")
WORKS = ("sessions", "chats", "ids")
SIZES: dict[str, dict[str, float]] = {
    "full": {"kv_bytes_per_token": 2060.0},
    "sliding_window": {"kv_bytes_per_token": 268.0, "window_bytes_per_token": 1292.0},
    "recurrent": {"kv_bytes_per_token": 524.0, "state_bytes": 2100.0},
}
"""Sizes of a saved state of the small models: keys and values in 16 bits, and 12 bytes of position for each token."""
SETTINGS: dict[str, tuple[dict[str, Any], ...]] = {
    "llama-server": (
        {},
        {"slots": 1},
        {"slots": 2, "kv_unified": False, "slot_prompt_similarity": 0.5},
        {"slots": 2, "kv_unified": True, "cache_idle_slots": False, "ctx": 8192, "slot_prompt_similarity": 0.0},
        {"slots": 4, "kv_unified": False, "cache_ram": 0, "ctx_checkpoints": 0},
        {"slots": 4, "kv_unified": True, "cache_ram": 2, "ctx_checkpoints": 3, "checkpoint_min_step": 256},
        {"slot_prompt_similarity": 0.98, "cache_idle_slots": False, "checkpoint_min_step": 64, "ubatch": 128},
        {"slots": 2, "kv_unified": False, "cache_ram": -1, "ctx": 16384, "swa_full": True},
        {"slots": 1, "cache_reuse": 16},
    ),
    "llama-cpp": ({}, {"swa_full": False, "ubatch": 128}),
}
"""The first is the engine's own."""


class Outcome(msgspec.Struct, frozen=True):
    """One request: what the policy said, and what the engine did (`None`: it did not say)."""

    prompt_tokens: int
    predicted: Predicted
    cached_tokens: int | None
    slot: int | None
    log: tuple[str, ...]

    @property
    def exact(self) -> bool:
        """Both figures are the engine's own."""
        same_slot = self.slot is None or self.predicted.slot in (None, self.slot)
        return same_slot and self.predicted.cached_tokens == self.cached_tokens

    def near(self, granularity_tokens: int) -> bool:
        """The cached tokens differ by no more than the step in which the engine can reuse."""
        predicted, measured = self.predicted.cached_tokens, self.cached_tokens
        if predicted is None or measured is None:
            return predicted is measured  # refused by both
        return abs(predicted - measured) <= granularity_tokens


def main() -> None:
    """Print a line for each row, its exceptions below it, and the totals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=SETTINGS, action="append")
    parser.add_argument("--kind", choices=CACHE_KINDS, action="append")
    parser.add_argument("--work", choices=WORKS, action="append")
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--requests", type=int, default=40, help="of each random workload")
    asked = parser.parse_args()
    totals: dict[str, list[int]] = {}
    print(f"{'engine':12} {'cache':14} {'work':8} {'requests':>8} {'exact':>6} {'near':>6} {'cached':>7}  setting")
    with tempfile.TemporaryDirectory() as folder:
        models = models_in(Path(folder))
        for engine, kind, work in product(asked.engine or SETTINGS, asked.kind or CACHE_KINDS, asked.work or WORKS):
            if engine != "llama-server" and work == "ids":
                continue  # llama-cpp's worker takes messages only
            for number, setting in enumerate(SETTINGS[engine]):
                options = {"ctx": CONTEXT_TOKENS, **setting}
                outcomes = list(PLAYED[work](engine, models[kind], kind, options, asked.seed + number, asked.requests))
                report(engine, kind, work, setting, outcomes)
                total = totals.setdefault(f"{engine}/{kind}", [0, 0])
                total[0] += sum(o.exact for o in outcomes)
                total[1] += len(outcomes)
    for name, (exact, requests) in totals.items():
        print(f"{name}: {exact} of {requests} exact ({exact / requests:.2%})")


def report(engine: str, kind: str, work: str, setting: dict[str, Any], outcomes: list[Outcome]) -> None:
    """Print one row and what was not exact in it."""
    granularity = 1 if kind == "full" else 4 + int(setting.get("ubatch", 512))
    requests = len(outcomes)
    exact = sum(o.exact for o in outcomes) / requests
    near = sum(o.near(granularity) for o in outcomes) / requests
    cached = sum(o.cached_tokens or 0 for o in outcomes) / sum(o.prompt_tokens for o in outcomes)
    named = " ".join(f"{key}={value}" for key, value in setting.items()) or "defaults"
    print(f"{engine:12} {kind:14} {work:8} {requests:8} {exact:6.1%} {near:6.1%} {cached:7.1%}  {named}", flush=True)
    for number, outcome in enumerate(outcomes):
        if not outcome.exact:
            said, did = outcome.predicted, f"{outcome.cached_tokens} in slot {outcome.slot}"
            print(f"    request {number}, {outcome.prompt_tokens} tokens: predicted {said.cached_tokens}", end=" ")
            print(f"in slot {said.slot} ({said.why}), measured {did}")
            print("".join(f"        {line}\n" for line in outcome.log), end="")


def models_in(folder: Path) -> dict[str, Path]:
    """A small model for each kind of cache."""
    return {
        "full": TINY,
        "sliding_window": write_sliding_window(folder / "window.gguf"),
        "recurrent": write_hybrid(folder / "hybrid.gguf"),
    }


def policy_for(engine: str, kind: str, options: dict[str, Any]) -> Policy:
    """The engine's policy under these target options, with the facts of the small models."""
    module = load(engine)
    known = {field.name for field in msgspec.structs.fields(module.Options)}
    facts = {**SIZES[kind], "cache_kind": kind, "window": WINDOW if kind == "sliding_window" else 0}
    chosen = {key: value for key, value in {**facts, **options}.items() if key in known}
    policy: Policy = module.open_policy(module.Options(**chosen))
    return policy


def played_ids(
    engine: str, model: Path, kind: str, options: dict[str, Any], seed: int, requests: int
) -> Iterator[Outcome]:
    """Random token ids on llama-server."""
    policy = policy_for(engine, kind, options)
    slots = options.get("slots", 4)
    room = options["ctx"] // (1 if options.get("kv_unified", "slots" not in options) else slots)
    shape = Shape(pinned=0.25 if "slots" in options else 0.0, longest=min(5000, room - 600))
    workload = Workload(seed, shape, slots)
    with IdServer(model, options) as server:
        for _ in range(requests):
            ask = workload.ask()
            answer = server.answer(ask)
            workload.answered(answer.generated)
            predicted = policy.serve(sent_of(ask, answer))
            lines = tuple(line for line in answer.log.splitlines() if "checkpoint" in line or "selected" in line)
            yield Outcome(len(ask.prompt), predicted, answer.cached_tokens, answer.slot, lines)


def played_chats(
    engine: str, model: Path, kind: str, options: dict[str, Any], seed: int, requests: int
) -> Iterator[Outcome]:
    """Random chats; with slots given, some requests pin one."""
    slots = options.get("slots", 0) if engine == "llama-server" else 0
    yield from _replayed(engine, model, kind, options, (random_session(seed, requests, slots=slots),))


def played_sessions(
    engine: str, model: Path, kind: str, options: dict[str, Any], seed: int, requests: int
) -> Iterator[Outcome]:
    """Agent sessions of three kinds, as short as each can be; rows that follow each other play other kinds."""
    kinds = [k for k in KINDS if k != "append-only-long"]
    chosen = (kinds[(3 * seed + place) % len(kinds)] for place in range(3))
    made = tuple(generate(k, seed=seed, turns=max(4, fewest_turns(k)), scale=0.7) for k in chosen)
    yield from _replayed(engine, model, kind, options, made)


def _replayed(
    engine: str, model: Path, kind: str, options: dict[str, Any], sessions: tuple[Session, ...]
) -> Iterator[Outcome]:
    policy = policy_for(engine, kind, options)
    typed = {key: str(value).lower() for key, value in {**options, "threads": 1}.items()}
    opened = open_engine(Target(engine, str(model), options=typed))
    try:
        played = play(opened, sessions)
    finally:
        opened.close()
    for request in played:
        predicted, evidence = policy.serve(request.sent), request.evidence
        prompt_tokens = len(request.sent.prompt)
        yield Outcome(prompt_tokens, predicted, evidence.cached_tokens, evidence.slot, evidence.log)


PLAYED = {"sessions": played_sessions, "chats": played_chats, "ids": played_ids}


if __name__ == "__main__":
    started_ns = time.perf_counter_ns()
    main()
    print(f"took {(time.perf_counter_ns() - started_ns) / 1e9:.0f} s")
