"""mlx_lm.server: what is sent, what is launched and attached to, and what is known where the folder is elsewhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from backends import open_engine
from backends.base import (
    ContextOverflow,
    EngineDied,
    EngineFault,
    Forcer,
    LaunchError,
    Request,
    Target,
    TargetError,
    Unreachable,
)
from backends.mlx_server import CHAT, MlxServer
from backends.workers.server_process import ServerProcess
from tests.backends import mlx_models
from tests.backends.contract import ANSWER, Served, conversation
from tests.backends.recorded_http import played

GO_ON = {"role": "user", "content": "Go on."}
OK = b'{"status": "ok"}'
ROOT = Path(__file__).parents[2]
installed = pytest.mark.engine


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mlx.core", reason="mlx-lm is not installed: pip install 'llmdyno[mlx]'")
    return mlx_models.write_dense(tmp_path_factory.mktemp("dense"))


@pytest.fixture(scope="module")
def launched(folder: Path) -> Iterator[MlxServer]:
    engine = open_engine(Target("mlx-server", model=str(folder), options={"ctx": "2048", "prompt_cache_size": "3"}))
    assert isinstance(engine, MlxServer)
    yield engine
    engine.close()


def sse(*chunks: Any) -> bytes:
    """A stream as mlx_lm.server sends it, with the progress of a prefill as comments."""
    progress = b": keepalive 99/114\n\n: keepalive 114/114\n\n"
    return (
        progress + b"".join(b"data: " + msgspec.json.encode(chunk) + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"
    )


def piece(text: str, reason: str | None = None) -> Any:
    return {"choices": [{"index": 0, "finish_reason": reason, "delta": {"role": "assistant", "content": text}}]}


@installed
def test_the_first_request_is_served_by_a_loaded_model_with_an_empty_cache(launched: MlxServer) -> None:
    """So a launch leaves nothing in the cache, and what it had to load is not timed."""
    process = launched._connection.process
    assert isinstance(process, ServerProcess)
    refused = 'POST /v1/chat/completions HTTP/1.1" 404'
    assert process.log_since(0).index("GET /health") < process.log_since(0).index(refused)
    said = Served(launched.stream(conversation("first"))).evidence
    assert said.cached_tokens == 0
    assert said.sources["cached_tokens"] == "usage.prompt_tokens_details.cached_tokens"
    assert (said.prefill_ns, said.decode_ns) == (None, None)


@installed
def test_an_append_is_reused_and_the_counts_are_those_of_the_prompt(launched: MlxServer) -> None:
    first = conversation("append")
    prompt = launched.render(first)
    assert prompt is not None
    assert Served(launched.stream(first)).evidence.prompt_tokens == len(prompt.token_ids)
    said = Served(launched.stream(conversation("append", ANSWER, GO_ON))).evidence
    assert (said.cached_tokens or 0) >= len(prompt.token_ids) - 1
    assert said.evaluated_tokens == (said.prompt_tokens or 0) - (said.cached_tokens or 0)


@installed
def test_the_facts_of_a_launched_server(launched: MlxServer) -> None:
    facts = launched.facts()
    assert (facts.engine, facts.architecture, facts.cache_kind) == ("mlx-server", "qwen3", "full")
    assert (facts.context_tokens, facts.granularity_tokens, facts.launched) == (2048, 1, True)
    assert facts.settings == {"server": "mlx_lm.server", "ctx": "2048", "prompt_cache_size": "3"}
    assert facts.build is not None
    assert facts.build.startswith("mlx-lm 0.")
    assert not isinstance(launched, Forcer)


@installed
def test_a_context_that_the_server_does_not_know_is_kept(launched: MlxServer) -> None:
    with pytest.raises(ContextOverflow) as caught:
        list(launched.stream(Request(({"role": "user", "content": "one more word " * 2048},))))
    assert caught.value.context_tokens == 2048


@installed
def test_attaching_renders_where_the_folder_is_named(launched: MlxServer, folder: Path) -> None:
    url = launched._connection.url
    engine = open_engine(Target("mlx-server", url=f"{url}/v1", options={"folder": str(folder)}))
    try:
        assert engine.render(conversation("attach")) == launched.render(conversation("attach"))
        assert engine.facts().launched is False
        (started,) = launched.pids()
        assert set(engine.pids()) <= {started, *(p.pid for p in psutil.Process(started).children(recursive=True))}
        assert engine.pids()
        assert Served(engine.stream(conversation("attach"))).evidence.prompt_tokens
    finally:
        engine.close()
    assert all(psutil.pid_exists(pid) for pid in launched.pids())


@installed
def test_a_server_that_is_killed_is_an_error_and_not_our_end(folder: Path) -> None:
    engine = open_engine(Target("mlx-server", model=str(folder)))
    try:
        for pid in engine.pids():
            for process in [*psutil.Process(pid).children(recursive=True), psutil.Process(pid)]:
                process.kill()
                process.wait(5)
        with pytest.raises(EngineDied):
            list(engine.stream(conversation("killed")))
    finally:
        engine.close()


@installed
def test_no_server_outlives_its_parent(folder: Path) -> None:
    code = (
        "import os, sys, psutil; from backends import open_engine; from backends.base import Target\n"
        "engine = open_engine(Target('mlx-server', model=sys.argv[1]))\n"
        "print(*[p.pid for p in psutil.Process().children(recursive=True)], flush=True); os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    left = [psutil.Process(pid) for pid in map(int, ended.stdout.split()) if psutil.pid_exists(pid)]
    _, alive = psutil.wait_procs(left, 5)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


@installed
def test_a_model_that_mlx_lm_does_not_know_is_a_failed_launch(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "config.json").write_text((folder / "config.json").read_text().replace('"qwen3"', '"nothing-like-it"'))
    with pytest.raises(LaunchError, match="not supported"):
        open_engine(Target("mlx-server", model=str(tmp_path)))


def test_no_seed_and_no_model_are_sent_unless_asked_for() -> None:
    """A seed takes the server's sequential path, another model's name makes it load that one."""
    reply = sse(piece("Yes.", "stop"))
    with played("mlx-server", {"/health": OK, CHAT: reply}) as (engine, server):
        list(engine.stream(conversation("sent")))
        list(engine.stream(msgspec.structs.replace(conversation("sent"), parameters={"seed": 3}, stream=True)))
    first, second = (msgspec.json.decode(body) for path, _, body in server.asked if path == CHAT)
    assert not {"seed", "model", "cache_prompt"} & set(first)
    assert first["stream_options"] == {"include_usage": True}
    assert second["seed"] == 3


def test_progress_is_never_read_as_a_count() -> None:
    """`: keepalive 99/114` counts the uncached tokens: without `usage`, nothing is known."""
    with played("mlx-server", {"/health": OK, CHAT: sse(piece("Yes.", "stop"))}) as (engine, _):
        served = Served(engine.stream(conversation("progress")))
    assert (served.content, served.stops[0].reason) == ("Yes.", "stop")
    assert (served.evidence.prompt_tokens, served.evidence.cached_tokens) == (None, None)


def test_a_server_elsewhere_shows_no_prompts_and_no_facts() -> None:
    with played("mlx-server", {"/health": OK, CHAT: sse(piece("Yes.", "stop"))}, model="org/name") as (engine, server):
        assert engine.render(conversation("elsewhere")) is None
        list(engine.stream(conversation("elsewhere")))
        facts = engine.facts()
    assert (facts.model, facts.build, facts.cache_kind, facts.granularity_tokens) == ("org/name", None, None, None)
    (body,) = (msgspec.json.decode(body) for path, _, body in server.asked if path == CHAT)
    assert body["model"] == "org/name"


def test_a_stream_that_ends_early_is_a_fault() -> None:
    with (
        played("mlx-server", {"/health": OK, CHAT: sse(piece("Y"))}) as (engine, _),
        pytest.raises(EngineFault, match="before the reply was complete"),
    ):
        list(engine.stream(conversation("early")))


def test_another_server_is_not_taken_for_one() -> None:
    with pytest.raises(Unreachable, match="answers, but not as"), played("mlx-server", {CHAT: b"{}"}):
        pass


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://127.0.0.1:9/v1"])
def test_nobody_there(url: str) -> None:
    with pytest.raises(Unreachable, match="nothing answers at"):
        open_engine(Target("mlx-server", url=url))


@installed
def test_a_target_without_a_place_is_refused(folder: Path) -> None:
    with pytest.raises(TargetError, match="needs a model folder or a URL"):
        open_engine(Target("mlx-server"))
