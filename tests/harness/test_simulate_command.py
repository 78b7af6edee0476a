"""`dyno simulate` as a user runs it: sessions and runs, bad input, Ctrl-C; and a real run that it must reproduce."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from backends.base import TargetError
from harness.cli.cache_run import CacheRun, run_cache
from harness.cli.simulate_run import SimulateRun, resolve_inputs, run_simulate
from harness.session_maker.generator import fewest_turns, generate
from harness.sessions import SessionError, write_session
from profiler.run_files import StoreError
from profiler.run_names import UnknownRun
from tests.harness.cache_cases import session, small_share, sub_agent, turn, words
from tests.tiny_model.architectures import write_hybrid

ROOT = Path(__file__).parents[2]
TINY = ROOT / "profiles" / "models" / "tiny" / "tiny-f16.gguf"
SCHEMA = json.loads((ROOT / "docs" / "simulate.schema.json").read_text())


def start(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "140"}
    command = [sys.executable, "-m", "harness.cli", "simulate", *arguments]
    return subprocess.Popen(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def dyno(*arguments: str, cwd: Path) -> tuple[int, str, str]:
    with start(*arguments, cwd=cwd) as process:
        out, err = process.communicate(timeout=60)
        assert "Traceback" not in err, err
        return process.returncode, out, err


def asked(*inputs: str, runs: Path, **changes: Any) -> SimulateRun:
    usual: dict[str, Any] = {"engines": (), "settings": (), "flags": {}, "model": None, "requests": False}
    return SimulateRun(**{"inputs": inputs, "runs": runs, "json_output": True, **usual, **changes})


def document(text: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(text)
    jsonschema.validate(value, SCHEMA)
    return value


def test_a_session_is_simulated_without_a_model(tmp_path: Path) -> None:
    write_session(sub_agent(), tmp_path / "sub.jsonl")
    flags = ("--engine", "llama-server", "--slot-prompt-similarity", "0.1,0.5", "--parallel", "auto,4")
    code, out, err = dyno("sub.jsonl", *flags, "--cache-ram", "0,8192", "--json", cwd=tmp_path)
    assert code == 0, err
    value = document(out)
    assert value["fidelity"] == "simulate"
    assert value["workloads"][0]["tokens"] == "scripted"
    assert value["verdict"]["outcome"] == "better"
    assert value["verdict"]["options"] == {"slot_prompt_similarity": "0.5"}
    assert len(value["settings"]) == 8
    assert any("absolute counts are not" in note for note in value["notes"])
    assert "simulating 8 settings" in err
    assert not (tmp_path / "runs").exists(), "nothing is stored"


@pytest.mark.parametrize(
    ("name", "changes", "message", "hint"),
    [
        (
            "sub-agent",
            {"engines": ("lama-server",)},
            "no cache policy models the engine 'lama-server'",
            "llama-server?",
        ),
        ("sub-agent", {"settings": ("cache_rom=1",)}, "no option 'cache_rom'", "cache_ram?"),
        ("sub-agent", {"flags": {"slots": "some"}}, "slots=some is not a whole number", None),
        ("sub-agent", {"model": "gone.gguf"}, "gone.gguf", None),
        ("sub-agent", {"model": "nowhere"}, "no target is named 'nowhere'", "dyno targets"),
        ("sub-agnet", {}, "'sub-agnet' is no session, and no run in", "did you mean the session sub-agent?"),
        ("gone.jsonl", {}, "cannot be read", "check the path"),
    ],
)
def test_bad_input_is_named_with_the_next_step(
    name: str, changes: dict[str, Any], message: str, hint: str | None, tmp_path: Path
) -> None:
    with pytest.raises((TargetError, SessionError, UnknownRun), match=message) as caught:
        run_simulate(asked(name, runs=tmp_path, **changes))
    assert hint is None or hint in str(getattr(caught.value, "hint", ""))


def test_an_error_is_a_line_and_a_hint(tmp_path: Path) -> None:
    code, out, err = dyno("sub-agent", "--set", "cache_rom=1", cwd=tmp_path)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 2


def test_a_run_of_an_engine_without_a_policy_is_simulated_on_llama_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_cache(cache_run("scripted:", tmp_path))
    capsys.readouterr()
    run_simulate(asked("latest", runs=tmp_path, flags={"slot_prompt_similarity": "0.5"}, requests=True))
    value = document(capsys.readouterr().out)
    assert value["workloads"][0]["tokens"] == "run"
    assert value["workloads"][0]["agreement"]["reason"] == "no policy models scripted"
    assert any("simulated on llama-server" in note for note in value["notes"])
    assert value["priced_by"] is not None
    assert value["settings"][0]["prefill_s"] > 0
    assert {row["session"] for row in value["requests"]} == {"case-sub-agent", "case-small-share"}

    (run,) = tmp_path.glob("*/prompts.zst")
    run.unlink()
    with pytest.raises(StoreError, match="holds no prompts"):
        run_simulate(asked("latest", runs=tmp_path))


def cache_run(target: str, runs: Path, **changes: Any) -> CacheRun:
    made: dict[str, Any] = {"sessions": (sub_agent(), small_share()), "repeat": 1, "cold": False, "calibrate": False}
    return CacheRun(**{"command": "cache", "target": target, "runs": runs, "json_output": True, **made, **changes})


def test_several_inputs_are_runs_and_sessions(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    write_session(sub_agent(), folder / "a.jsonl")
    write_session(small_share(), folder / "b.jsonl")
    run_cache(cache_run("scripted:", tmp_path / "runs"))
    (run,) = (tmp_path / "runs").iterdir()
    paths, sessions = resolve_inputs([str(run), "title-call", str(folder)], tmp_path / "runs")
    assert paths == [run]
    assert [s.name for s in sessions] == ["title-call", "case-sub-agent", "case-small-share"]
    assert resolve_inputs([run.name], tmp_path / "runs") == ([run], ())
    with pytest.raises(UnknownRun):
        resolve_inputs(["nothing"], tmp_path / "runs")
    with pytest.raises(SessionError):
        resolve_inputs([str(tmp_path / "runs")], tmp_path / "runs")


def test_facts_given_by_hand_hold_for_every_setting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A recurrent state without checkpoints goes back nowhere; the defaults are simulated on the same model."""
    talk = session("talk", turn("main", words(1, 300), words(2, 200)), turn("main", words(1, 300), words(2, 200)))
    write_session(talk, tmp_path / "talk.jsonl")
    settings = ("cache_kind=recurrent", "ctx_checkpoints=0,32")
    run_simulate(asked(str(tmp_path / "talk.jsonl"), runs=tmp_path, settings=settings))
    value = document(capsys.readouterr().out)
    by_options = {tuple(row["options"].items()): row for row in value["settings"]}
    assert by_options[()]["is_default"]
    assert by_options[(("ctx_checkpoints", "0"),)]["reused_tokens"] == 0
    assert by_options[()]["reused_tokens"] == value["workloads"][0]["longest_prompt_tokens"] - 4
    assert value["verdict"]["outcome"] == "defaults_best"


def test_ctrl_c_keeps_what_is_done(tmp_path: Path) -> None:
    # Long enough that no machine is done with the grid when the signal comes.
    write_session(generate("sub-agent", seed=1, turns=80), tmp_path / "long.jsonl")
    many = ",".join(map(str, range(1, 600)))
    slow = ("--set", "cache_kind=sliding_window", "--set", "window=128")
    with start("long.jsonl", "--cache-ram", many, *slow, "--json", cwd=tmp_path) as process:
        assert process.stderr is not None
        while "simulating" not in process.stderr.readline():
            assert process.poll() is None
        threading.Event().wait(0.3)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    value = json.loads(out)
    assert not value["complete"]
    assert 1 <= len(value["settings"]) < 600


@pytest.mark.engine
@pytest.mark.parametrize("kind", ["full", "recurrent"])
def test_a_real_run_is_reproduced_to_the_token(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Messages decide where checkpoints of a recurrent state lie, so their places are tested here too."""
    model = TINY if kind == "full" else write_hybrid(tmp_path / "hybrid.gguf")
    target = f"llama-server:{model}?ctx=8192&slots=2&threads=1&ubatch=128&checkpoint_min_step=128"
    short = generate("title-call", seed=3, turns=fewest_turns("title-call"), scale=0.1)
    run_cache(cache_run(target, tmp_path / "runs", sessions=(short,)))
    capsys.readouterr()
    run_simulate(asked("latest", runs=tmp_path / "runs", flags={"slots": "1,2"}))
    value = document(capsys.readouterr().out)
    agreement = value["workloads"][0]["agreement"]
    assert agreement["settings"]["slots"] == "2"
    assert agreement["compared"] == len(short.turns)
    assert agreement["exact"] == agreement["compared"], agreement["differing"]
    assert value["priced_by"] is not None
    assert [row["is_own"] for row in value["settings"]].count(True) == 1


@pytest.mark.engine
def test_a_model_counts_a_sessions_tokens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    talk = session("talk", turn("main", "be brief", "hello there"), turn("main", "be brief", "hello there", "again"))
    write_session(talk, tmp_path / "talk.jsonl")
    run_simulate(asked(str(tmp_path / "talk.jsonl"), runs=tmp_path, model=str(TINY), flags={"slots": "1"}))
    value = document(capsys.readouterr().out)
    assert value["workloads"][0]["tokens"] == "engine"
    assert value["notes"] == []
