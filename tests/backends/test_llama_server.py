"""llama-server: launching, attaching, forcing, and what its process leaves behind."""

from __future__ import annotations

import stat
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from backends import open_engine, parse_target
from backends.base import Evidence, LaunchError, Request, RequestRejected, Target, TargetError
from backends.llama_server import LlamaServer
from backends.options import convert_options
from backends.workers.listening import listeners
from backends.workers.server_process import Options, ServerProcess, command_line, library_settings
from profiler.measure import measure

MODELS = Path(__file__).parents[2] / "profiles" / "models" / "tiny"
TINY = MODELS / "tiny-f16.gguf"
TOOLS = ({"type": "function", "function": {"name": "read", "parameters": {"type": "object", "properties": {}}}},)
USER = {"role": "user", "content": "Read a.py and say what it does."}
CALL = {"id": "c1", "type": "function", "function": {"name": "read", "arguments": '{"path": "a.py"}'}}
REPLIES: dict[str, dict[str, Any]] = {
    "content": {"role": "assistant", "content": "It adds two numbers."},
    "reasoning": {"role": "assistant", "reasoning_content": "Short file.", "content": "It adds."},
    "tool call": {"role": "assistant", "content": "I look.", "tool_calls": [CALL]},
    "tool call alone": {"role": "assistant", "content": "", "tool_calls": [CALL]},
}


def options(**given: str) -> Options:
    return convert_options(given, Options, "llama-server")


def test_unset_slots_are_the_servers_automatic_mode() -> None:
    settings = library_settings("m.gguf", 1, options())
    assert settings["n_parallel"] == 4
    assert settings["kv_unified"] is True
    pinned = library_settings("m.gguf", 1, options(slots="2"))
    assert pinned["n_parallel"] == 2
    assert "kv_unified" not in pinned


def test_every_option_reaches_library_and_program() -> None:
    ours = {"template", "binary", "port", "startup_timeout_s", "request_timeout_s"}
    values = {"kv": "q8_0", "flash_attn": "on", "swa_full": "true", "kv_unified": "false", "cache_idle_slots": "false"}
    for name in msgspec.structs.fields(Options):
        if name.name in ours:
            continue
        given = options(**{name.name: values.get(name.name, "3")})
        assert library_settings("m", 1, given) != library_settings("m", 1, options()), name.name
        assert command_line("b", "m", 1, given) != command_line("b", "m", 1, options()), name.name


def test_a_template_that_is_not_there_is_said() -> None:
    with pytest.raises(TargetError, match=r"nothing\.jinja"):
        library_settings("m.gguf", 1, options(template="nothing.jinja"))


def test_no_model_and_no_address() -> None:
    with pytest.raises(TargetError, match="model file or a URL"):
        open_engine(Target("llama-server"))


def test_a_program_that_is_not_there_is_said() -> None:
    with pytest.raises(TargetError, match="no-such-program"):
        open_engine(parse_target(f"llama-server:{TINY}?binary=no-such-program"))


def program(folder: Path, script: str) -> str:
    path = folder / "llama-server"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_a_program_that_ends_at_once_leaves_its_last_words(tmp_path: Path) -> None:
    binary = program(tmp_path, "echo 'error: no kernel image for this GPU' >&2; exit 1")
    with pytest.raises(LaunchError, match="no kernel image"):
        open_engine(parse_target(f"llama-server:{TINY}?binary={binary}"))


def test_a_program_that_never_answers_is_ended(tmp_path: Path) -> None:
    binary = program(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 600")
    with pytest.raises(LaunchError, match="not ready after 1 s"):
        open_engine(parse_target(f"llama-server:{TINY}?binary={binary}&startup_timeout_s=1"))
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not psutil.pid_exists(pid)


@pytest.fixture(scope="module")
def server() -> Iterator[LlamaServer]:
    engine = open_engine(parse_target(f"llama-server:{TINY}?ctx=8192&threads=1"))
    assert isinstance(engine, LlamaServer)
    yield engine
    engine.close()


@pytest.mark.engine
@pytest.mark.parametrize("kind", REPLIES)
@pytest.mark.parametrize("attached", [False, True], ids=["launched", "attached"])
def test_forced_replies_come_out_and_the_next_turn_reuses_all_of_them(
    server: LlamaServer, kind: str, attached: bool
) -> None:
    """An attached server may continue final messages (its default); what is forced must not depend on it."""
    engine = LlamaServer(server._url, Options(), process=None) if attached else server
    first = Request(({"role": "system", "content": f"{kind} {attached}"}, USER), TOOLS)
    forced = engine.forced(first, REPLIES[kind])
    assert forced is not None
    measured = measure(engine, msgspec.structs.replace(first, forced=forced))
    assert measured.error is None
    assert measured.evidence.generated_tokens == len(forced.token_ids) + 1
    assert measured.reply.stop_reason == "stop"
    following = Request((*first.messages, REPLIES[kind], {"role": "user", "content": "And now?"}), TOOLS)
    before, after = engine.render(first), engine.render(following)
    sequence = before.token_ids + array("i", forced.token_ids)
    assert after.token_ids[: len(sequence)] == sequence
    assert measure(engine, following).evidence.cached_tokens == len(sequence)


@pytest.mark.engine
def test_half_characters_are_never_forced(server: LlamaServer) -> None:
    """A grammar over a token that holds part of a UTF-8 character ends the whole server (cache.md §8)."""
    request = Request((USER,))
    assert server.forced(request, {"role": "assistant", "content": "café ☕ 日本"}) is None
    assert measure(server, request).error is None


@pytest.mark.engine
def test_evidence_is_the_servers_with_its_log(server: LlamaServer) -> None:
    request = Request(({"role": "system", "content": "evidence " * 40}, USER), max_tokens=8)
    measure(server, request)
    evidence = measure(server, request).evidence
    assert isinstance(evidence, Evidence)
    assert evidence.conflict is None
    assert evidence.evaluated_tokens == 1
    assert evidence.slot is not None
    assert any("memory_seq_rm" in line for line in evidence.log)
    assert evidence.sources["cached_tokens"] == "timings.cache_n"


@pytest.mark.engine
def test_not_streamed_says_the_same(server: LlamaServer) -> None:
    request = Request(({"role": "system", "content": "whole " * 30}, USER), max_tokens=12)
    streamed = measure(server, request)
    whole = measure(server, msgspec.structs.replace(request, stream=False))
    assert whole.error is None
    assert whole.reply.text == streamed.reply.text
    assert whole.evidence.prompt_tokens == streamed.evidence.prompt_tokens


@pytest.mark.engine
def test_a_refused_request_leaves_the_server_usable(server: LlamaServer) -> None:
    bad = Request((USER,), parameters={"grammar": "root ::= ("})
    with pytest.raises(RequestRejected):
        list(server.stream(bad))
    assert measure(server, Request((USER,), max_tokens=4)).error is None


@pytest.mark.engine
def test_the_strip_template_is_used_when_given(server: LlamaServer) -> None:
    stripping = open_engine(
        parse_target(f"llama-server:{TINY}?ctx=4096&threads=1&template={MODELS / 'chatml-strip.jinja'}")
    )
    try:
        history = Request((USER, REPLIES["reasoning"], {"role": "user", "content": "And?"}))
        kept, stripped = server.render(history), stripping.render(history)
        assert stripped is not None
        assert "Short file." in kept.text
        assert "Short file." not in stripped.text
        assert server.facts().template_sha256 != stripping.facts().template_sha256
    finally:
        stripping.close()


@pytest.mark.engine
def test_closing_leaves_no_process_and_no_log() -> None:
    process = ServerProcess.launch(str(TINY), options(ctx="2048", threads="1"))
    (pid,) = process.pids()
    folder = process._folder
    assert folder.exists()
    process.close()
    process.close()
    assert not psutil.pid_exists(pid)
    assert not folder.exists()


@pytest.mark.engine
def test_a_taken_port_is_an_error(server: LlamaServer) -> None:
    port = server._url.rpartition(":")[2]
    with pytest.raises(LaunchError, match=port):
        ServerProcess.launch(str(TINY), options(port=port))


@pytest.mark.engine
def test_an_attached_server_on_this_machine_is_found_by_its_port(server: LlamaServer) -> None:
    attached = LlamaServer(server._url, Options(), process=None)
    assert attached.pids() == server.pids()
    assert attached.facts().launched is False
    attached.close()


@pytest.mark.parametrize("url", ["http://192.0.2.7:8080", "http://127.0.0.1:9", "https://localhost"])
def test_nobody_is_found_where_nobody_listens(url: str) -> None:
    assert listeners(url) == ()
