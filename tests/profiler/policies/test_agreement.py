"""The policies of llama.cpp's engines beside the engines, briefly; `benchmarks/policy_agreement.py` is longer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backends import open_engine
from backends.base import Target
from profiler.policies import load
from profiler.policies.llama_server import Options, open_policy
from tests.profiler.policies.chats import play, random_session
from tests.profiler.policies.engine import IdServer, agrees, sent_of
from tests.profiler.policies.workload import Shape, Workload
from tests.tiny_model.architectures import WINDOW, write_hybrid, write_sliding_window

pytestmark = pytest.mark.engine

TINY = Path(__file__).parents[3] / "profiles" / "models" / "tiny" / "tiny-f16.gguf"
WRITTEN = {"sliding_window": write_sliding_window, "recurrent": write_hybrid}
SHORT = Shape(system=(30, 200), added=(3, 120), reply=(1, 12), longest=1500)


def model_of(kind: str, folder: Path) -> tuple[Path, dict[str, Any]]:
    """A small model with that kind of cache, and what a policy has to know of it."""
    model = WRITTEN[kind](folder / "model.gguf") if kind in WRITTEN else TINY
    return model, {"cache_kind": kind, "window": WINDOW if kind == "sliding_window" else 0}


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("full", {"slots": 2, "kv_unified": True, "cache_idle_slots": False, "ctx": 2048}),
        ("sliding_window", {"ctx": 8192, "ubatch": 64}),
        ("recurrent", {"ctx": 8192, "slots": 2, "kv_unified": False, "ctx_checkpoints": 3, "checkpoint_min_step": 64}),
    ],
)
def test_random_token_ids_on_llama_server(kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    model, facts = model_of(kind, tmp_path)
    policy = open_policy(Options(**facts, **options))
    work = Workload(71, SHORT, options.get("slots", 4))
    with IdServer(model, options) as server:
        for number in range(20):
            ask = work.ask()
            answer = server.answer(ask)
            work.answered(answer.generated)
            predicted = policy.serve(sent_of(ask, answer))
            assert agrees(predicted, answer), (number, predicted, answer.cached_tokens, answer.slot)


@pytest.mark.parametrize(("engine", "kind"), [("llama-server", "recurrent"), ("llama-cpp", "full")])
def test_random_chats(engine: str, kind: str, tmp_path: Path) -> None:
    """Chats, since their messages decide where checkpoints lie."""
    model, facts = model_of(kind, tmp_path)
    module = load(engine)
    policy = module.open_policy(module.Options(**facts, ctx=8192))
    opened = open_engine(Target(engine, str(model), options={"ctx": "8192", "threads": "1"}))
    try:
        played = play(opened, (random_session(72, 8),))
    finally:
        opened.close()
    predicted = [policy.serve(request.sent).cached_tokens for request in played]
    assert predicted == [request.evidence.cached_tokens for request in played]
