"""`dyno fix` on a real llama-server: predicted and measured saving side by side, on both sides of the cache."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backends.base import JsonObject
from harness.cli.cache_run import CacheRun, run_cache
from harness.cli.fix_run import FixAsked, run_fix
from harness.fixing.plan import Wanted
from harness.session_maker.generator import fewest_turns, generate
from harness.sessions import Session, Turn, read_session, write_session

pytestmark = pytest.mark.engine

TINY = Path(__file__).parents[3] / "profiles" / "models" / "tiny" / "tiny-f16.gguf"
SHARE = 0.18
"""Of system prompts and tool results, alike, so that a sub-agent's prompts stand to the main agent's as they did."""


def small(kind: str) -> Session:
    """A session of a kind in its fewest turns, with prompts of some hundred tokens."""
    session = generate(kind, seed=15, turns=fewest_turns(kind))

    def cut(message: JsonObject) -> JsonObject:
        text = message["content"]
        if message["role"] not in ("system", "tool"):
            return message
        return {**message, "content": text[: max(40, math.ceil(len(text) * SHARE))]}

    def turn(one: Turn) -> Turn:
        return msgspec.structs.replace(one, messages=tuple(map(cut, one.messages)), tools=one.tools[:1])

    return msgspec.structs.replace(session, turns=tuple(map(turn, session.turns)))


def test_predicted_and_measured_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [tmp_path / f"{kind}.jsonl" for kind in ("clock-in-system-prompt", "sub-agent")]
    for file in files:
        write_session(small(file.stem), file)
    sessions = tuple(map(read_session, files))
    runs, target = tmp_path / "runs", f"llama-server:{TINY}?ctx=8192&threads=1"
    run_cache(CacheRun("cache", target, sessions, 1, False, runs, True, named=tuple(map(str, files))))
    capsys.readouterr()
    wanted = Wanted(causes=("P1", "E2"))
    run_fix(FixAsked("latest", runs, wanted, apply=True, baseline=True, json_output=True))
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    rows = {row["codes"][0]: row for row in document["levers"] if row["chosen"]}
    for row in rows.values():
        got = row["measured"]
        with capsys.disabled():
            sides = {name: got[name] for name in ("predicted_tokens", "saved_tokens", "predicted_s", "saved_s")}
            print(f"\n{row['codes']} {row['predicted']['how']} {sides}", end="")
    clock, stolen = rows["P1"], rows["E2"]
    assert clock["rewrite"] == "freeze_system"
    assert clock["predicted"]["how"] == "charge"
    # The last token of a reply was never evaluated, so a request that goes on evaluates it: one token each.
    assert 0 <= clock["measured"]["predicted_tokens"] - clock["measured"]["saved_tokens"] <= len(sessions[0].turns)
    assert clock["measured"]["saved_tokens"] > 100
    assert stolen["options"] == {"slot_prompt_similarity": "0.5"}
    assert stolen["predicted"]["how"] == "simulation"
    assert stolen["measured"]["saved_tokens"] == stolen["measured"]["predicted_tokens"] > 100
    assert document["total"]["clock"] == "engine"
