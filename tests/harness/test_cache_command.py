"""`dyno cache` and `dyno report` as a user runs them: output, exit codes, bad input, and nothing lost when killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import psutil
import pytest

from backends.workers.server_process import Options, ServerProcess
from harness.sessions import write_session
from tests.harness.test_opening import short_session

ROOT = Path(__file__).parents[2]
TINY = ROOT / "profiles" / "models" / "tiny" / "tiny-f16.gguf"
SERVER = f"llama-server:{TINY}?ctx=32768&threads=1"
SCHEMA = json.loads((ROOT / "docs" / "cache.schema.json").read_text())


def start(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "140"}
    command = [sys.executable, "-m", "harness.cli", *arguments]
    return subprocess.Popen(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def dyno(*arguments: str, cwd: Path, timeout_s: float = 120) -> tuple[int, str, str]:
    with start(*arguments, cwd=cwd) as process:
        out, err = process.communicate(timeout=timeout_s)
        assert "Traceback" not in err, err
        return process.returncode, out, err


def document(text: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(text)
    jsonschema.validate(value, SCHEMA)
    return value


def test_json_is_one_valid_object_and_the_baseline_is_stable(tmp_path: Path) -> None:
    code, out, err = dyno("cache", "scripted:", "-s", "append-only", "--json", cwd=tmp_path)
    assert code == 0, err
    value = document(out)
    assert value["status"] == "complete"
    assert value["engine"]["name"] == "scripted"
    assert value["verdict"]["stable"] is True
    assert value["verdict"]["full_miss_rate"] == 0
    assert value["verdict"]["lost_s"] == 0
    (session,) = value["sessions"]
    assert session["continuations"] == session["hit"] == 15
    assert session["partial"] == session["full_miss"] == session["unknown"] == 0
    assert {r["class"] for r in value["requests"]} == {"cold", "hit"}


def test_an_engine_that_says_nothing_is_unknown_and_never_a_miss(tmp_path: Path) -> None:
    code, out, _ = dyno("cache", "scripted:?report=none", "-s", "append-only", "--json", cwd=tmp_path)
    assert code == 0
    value = document(out)
    assert value["verdict"]["stable"] is None
    assert value["verdict"]["full_miss_rate"] is None
    assert value["verdict"]["lost_s"] is None
    assert value["sessions"][0]["full_miss"] == 0
    assert value["sessions"][0]["unknown"] == 15
    assert {r["cached_tokens"] for r in value["requests"]} == {None}


def test_provoked_sessions_are_shown_but_not_judged(tmp_path: Path) -> None:
    arguments = ("-s", "append-only", "-s", "clock-in-system-prompt", "--json")
    _, out, _ = dyno("cache", "scripted:", *arguments, cwd=tmp_path)
    value = document(out)
    assert value["verdict"]["judged_sessions"] == ["append-only"]
    clock = value["sessions"][1]
    assert clock["lost_prompt_side_tokens"] > 0
    assert clock["lost_s"] > 0


def test_repeats_are_cold_again(tmp_path: Path) -> None:
    _, out, _ = dyno("cache", "scripted:", "-s", "append-only", "--repeat", "2", "--json", cwd=tmp_path)
    firsts = [r for r in document(out)["requests"] if r["turn"] == 0]
    assert [r["repeat"] for r in firsts] == [0, 1]
    assert {r["class"] for r in firsts} == {"cold"}


def test_report_shows_verdict_table_and_place(tmp_path: Path) -> None:
    code, out, err = dyno("cache", "scripted:", "-s", "append-only", cwd=tmp_path)
    assert code == 0
    assert out.strip().startswith("STABLE")
    assert "append-only" in out
    assert "dyno explain" in out
    assert "append-only" in err  # progress
    again = dyno("report", "latest", cwd=tmp_path)
    assert again[1] == out
    _, as_json, _ = dyno("report", "--json", cwd=tmp_path)
    assert document(as_json)["run"] in out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["cache", "nonsense"], 2, "no target is named"),
        (["cache", "lama-server:x.gguf"], 2, "did you mean llama-server"),
        (["cache", "llama-server:missing.gguf"], 2, "missing.gguf"),
        (["cache", "llama-server:broken.gguf"], 2, "broken.gguf"),
        (["cache", "llama-server:cut.gguf"], 2, "cut.gguf"),
        (["cache", "scripted:?slotz=3"], 2, "slots"),
        (["cache", "scripted:?slots=many"], 2, "slots"),
        (["cache", "llama-server:http://127.0.0.1:9"], 3, "nothing answers"),
        (["cache", "scripted:", "-s", "no-such-session"], 2, "bundled session"),
        (["cache", "scripted:", "-s", "bad.jsonl"], 2, "bad.jsonl:2"),
        (["cache", "scripted:", "-s", "none.jsonl"], 2, "none.jsonl"),
        (["cache", "scripted:", "--repeat", "0"], 2, "repeat"),
        (["cache", "scripted:", "--runs", "broken.gguf"], 3, "broken.gguf"),
        (["report", "nothing-here"], 2, "no runs in runs"),
        (["sessions", "--write", "x", "--kind", "clok-in-system-prompt"], 2, "did you mean clock-in-system-prompt"),
        (["sessions", "--write", "x", "--turns", "3"], 2, "too few"),
        (["sessions", "--write", "broken.gguf"], 2, "broken.gguf"),
        (["report"], 2, "no runs in runs"),
    ],
)
def test_bad_input_is_one_clear_error(tmp_path: Path, arguments: list[str], code: int, said: str) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"this is not a model")
    (tmp_path / "cut.gguf").write_bytes(TINY.read_bytes()[:200_000])
    header = '{"schema": 1, "name": "x", "title": "x", "provokes": "nothing", "side": "none"}'
    (tmp_path / "bad.jsonl").write_text(header + "\n{not json}\n")
    got, out, err = dyno(*arguments, cwd=tmp_path)
    assert got == code, err
    assert said in err
    assert out == ""


def test_a_missing_extra_names_the_command_that_installs_it(tmp_path: Path) -> None:
    script = "import sys; sys.modules['xllamacpp'] = None; from harness.cli import main; main()"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": str(tmp_path)}
    command = [sys.executable, "-c", script, "cache", SERVER]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "needs the package xllamacpp" in done.stderr
    assert "pip install 'llmdyno[llama-server]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.engine
def test_a_taken_port_is_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, err = dyno("cache", f"{SERVER}&port={port}", cwd=tmp_path)
    assert code == 3
    assert f"port {port}" in err


@pytest.mark.engine
def test_context_overflow_is_recorded_and_the_run_goes_on(tmp_path: Path) -> None:
    small = f"llama-server:{TINY}?ctx=4096&threads=1"
    code, out, err = dyno("cache", small, "-s", "append-only", "-s", "title-call", "--json", cwd=tmp_path)
    assert code == 0, err
    value = document(out)
    failed = [r for r in value["requests"] if r["error"]]
    assert failed
    assert all(r["error"].startswith("ContextOverflow") for r in failed)
    assert {r["session"] for r in value["requests"]} == {"append-only", "title-call"}


@pytest.mark.engine
def test_a_server_that_is_warm_is_noticed_and_cold_starts_cold(tmp_path: Path) -> None:
    server = ServerProcess.launch(str(TINY), Options(ctx=16384, threads=1))
    try:
        target = f"llama-server:{server.url}/v1"
        for arguments, first, said in (
            ((), "cold", False),
            ((), "unknown", True),
            (("--cold",), "cold", False),
        ):
            _, out, _ = dyno("cache", target, "-s", "title-call", *arguments, cwd=tmp_path)
            assert ("found a cache from before this run" in out) is said
            value = document(dyno("report", "--json", cwd=tmp_path)[1])
            assert value["requests"][0]["class"] == first
            assert value["sessions"][0]["hit"] == 8
    finally:
        server.close()


@pytest.mark.engine
def test_a_silent_server_is_calibrated_and_inferred_from(tmp_path: Path) -> None:
    """llama-server with its counts and prompts hidden, through an adapter from outside."""
    write_session(short_session(), tmp_path / "short.jsonl")
    target = f"tests.harness.silent_engine:{TINY}?ctx=4096&threads=1"
    code, out, err = dyno("cache", target, "-s", "short.jsonl", "--json", cwd=tmp_path)
    assert code == 0, err
    value = document(out)
    assert value["probe"]["cached"] == "not_reported"
    assert value["probe"]["prompts"] is False
    assert {r["cached_tokens"] for r in value["requests"]} == {None}
    # A machine that is too busy to see chunks come one by one does not calibrate.
    streams = bool(value["probe"]["streams"])
    assert (value["calibration"] is not None) == streams
    assert ("calibration 1/" in err) == streams
    stored = json.loads((tmp_path / "runs" / value["run"] / "run.json").read_text())
    assert stored["probe"] == value["probe"]
    assert stored["settings"]["calibrate"] is True
    if streams:
        assert len(stored["calibration"]["samples"]) == value["calibration"]["prompts"] >= 8
    _, shown, _ = dyno("report", cwd=tmp_path)
    assert "not reported: cached tokens, evaluated tokens, prefill time" in " ".join(shown.split())


@pytest.mark.engine
def test_a_server_that_fails_on_the_probe_is_one_error_and_a_failed_run(tmp_path: Path) -> None:
    code, out, err = dyno("cache", f"llama-server:{TINY}?ctx=256&threads=1", "--json", cwd=tmp_path)
    assert code == 3
    assert "failed on the probe, the first request of a run" in err
    assert "raise the target's ctx" in err
    value = document(out)
    assert (value["status"], value["requests"]) == ("failed", [])


def running_engine(process: subprocess.Popen[str]) -> psutil.Process:
    """The engine that dyno has launched."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for child in psutil.Process(process.pid).children(recursive=True):
            if "backends.workers.llama_server" in " ".join(child.cmdline()):
                return child
        time.sleep(0.05)
    raise AssertionError("no engine was started")


def finished(folder: Path) -> int:
    """Requests on disk, the header line left out."""
    files = list(folder.glob("runs/*/requests.jsonl"))
    return files[0].read_bytes().count(b"\n") - 1 if files else 0


def wait_for_requests(folder: Path, count: int) -> None:
    deadline = time.monotonic() + 90
    while finished(folder) < count:
        assert time.monotonic() < deadline, "the run did not get that far"
        time.sleep(0.05)


@pytest.mark.engine
def test_the_engine_dying_loses_nothing_that_had_finished(tmp_path: Path) -> None:
    with start("cache", SERVER, "--json", cwd=tmp_path) as process:
        wait_for_requests(tmp_path, 4)
        running_engine(process).kill()
        out, err = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "Traceback" not in err
    assert "llama-server went away" in err
    value = document(out)
    assert value["status"] == "failed"
    assert sum(r["error"] is None for r in value["requests"]) >= 4
    assert value["requests"][-1]["error"].startswith("EngineDied")


@pytest.mark.engine
def test_kill_9_loses_nothing_that_had_finished_and_leaves_no_engine(tmp_path: Path) -> None:
    with start("cache", SERVER, cwd=tmp_path) as process:
        engine = running_engine(process)
        wait_for_requests(tmp_path, 4)
        process.kill()
        process.communicate(timeout=60)
    stored = finished(tmp_path)
    code, out, _ = dyno("report", "latest", "--json", cwd=tmp_path)
    assert code == 0
    value = document(out)
    assert value["status"] == "unfinished"
    assert len(value["requests"]) == stored >= 4
    assert all(r["class"] in ("cold", "hit") for r in value["requests"])
    psutil.wait_procs([engine], timeout=20)
    assert not engine.is_running()


@pytest.mark.engine
def test_ctrl_c_keeps_and_reports_what_was_measured(tmp_path: Path) -> None:
    with start("cache", SERVER, cwd=tmp_path) as process:
        engine = running_engine(process)
        wait_for_requests(tmp_path, 4)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "interrupted" in out
    assert "append-only" in out
    assert not engine.is_running()
