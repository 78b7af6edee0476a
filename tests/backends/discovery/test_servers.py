"""Servers: real ones on free ports that answer recorded bodies, are silent, trickle, refuse, or are no such servers."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
import pytest

from backends import engine_names, load, parse_target
from backends.base import TargetError
from backends.discovery.recognition import PATHS, Recognised, ServedModel
from backends.discovery.servers import (
    NEED_NO_MODEL,
    TAKES_A_KEY,
    USUAL_PORTS,
    FoundServer,
    check_url,
    find_servers,
    targets_of,
    usual_urls,
)
from backends.workers.server_process import Options, ServerProcess
from tests.backends.discovery.test_recognition import props, recorded
from tests.backends.recorded_http import MODEL, Playing, serving

PATIENT_S = 20
"""A server that answers does not use it up, however busy the machine is."""


def bodies(said: dict[str, Any]) -> dict[str, bytes]:
    return {path: body.encode() if isinstance(body, str) else msgspec.json.encode(body) for path, body in said.items()}


def no_pids(url: str) -> tuple[int, ...]:
    return ()


class Refusing(Playing):
    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        return 401, b'{"error": {"message": "Invalid API Key"}}'


@contextmanager
def listening(*, family: socket.AddressFamily = socket.AF_INET) -> Iterator[socket.socket]:
    """A socket that accepts connections, as far as a client sees, and says nothing."""
    with socket.socket(family) as made:
        made.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        made.listen()
        yield made


@contextmanager
def trickling(interval_s: float) -> Iterator[str]:
    """A server whose replies never end: a byte at an interval."""
    stop = threading.Event()

    def trickle(client: socket.socket) -> None:
        with client:
            try:
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
                while not stop.wait(interval_s):
                    client.sendall(b" ")
            except OSError:
                return

    def serve(server: socket.socket) -> None:
        while not stop.is_set():
            try:
                client, _ = server.accept()
            except TimeoutError:
                continue
            threading.Thread(target=trickle, args=(client,), daemon=True).start()

    with listening() as server:
        server.settimeout(0.05)
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        stop.set()
        thread.join()


def test_every_server_is_found_at_whatever_port() -> None:
    with (
        serving(Playing(bodies({**recorded("openai"), "/props": props()}))) as llama,
        serving(Playing(bodies(recorded("lmstudio")))) as studio,
        serving(Playing(bodies(recorded("ollama")))) as ollama,
        serving(Playing({})) as other,
    ):
        urls = [server.url for server in (llama, studio, ollama, other)]
        found = find_servers(urls, pids_of=lambda url: (7,), deadline_s=PATIENT_S)
        assert all(not body for _, _, body in llama.asked)
        assert {path for path, _, _ in llama.asked} == set(PATHS)
        assert not any("Authorization" in headers for _, headers, _ in llama.asked)
    assert [server.url for server in found] == urls
    assert [server.state for server in found] == ["serving"] * 3 + ["not recognised"]
    assert [server.engine for server in found] == ["llama-server", "lmstudio", "ollama", None]
    assert found[0].targets == (f"llama-server:{urls[0]}",)
    assert found[1].targets == (f"lmstudio:{urls[1]}#granite-3.0-2b-instruct",)
    assert found[2].targets == (f"ollama:{urls[2]}",)
    assert (found[0].slots, found[0].pids) == (4, (7,))


def test_where_nobody_listens_only_what_was_asked_for_is_listed() -> None:
    with listening() as taken:
        free = f"http://127.0.0.1:{taken.getsockname()[1]}"
    assert find_servers([free], pids_of=no_pids) == ()
    assert find_servers([], asked=[free], pids_of=no_pids) == (FoundServer(free, "nothing there"),)


def test_silent_and_endless_servers_cost_the_deadline_once() -> None:
    with listening() as one, listening() as two, trickling(0.02) as endless:
        urls = [f"http://127.0.0.1:{made.getsockname()[1]}" for made in (one, two)]
        start = time.perf_counter()
        found = find_servers([*urls, endless], deadline_s=0.3, pids_of=no_pids)
        took_s = time.perf_counter() - start
    assert [server.state for server in found] == ["silent"] * 3
    assert took_s < 3


def test_a_server_behind_a_key_is_listed_as_such() -> None:
    with serving(Refusing({})) as server:
        (found,) = find_servers([server.url], pids_of=no_pids, deadline_s=PATIENT_S)
    assert found.state == "needs a key"
    assert found.targets == (f"openai:{server.url}#MODEL?key_env=NAME",)
    target = parse_target(found.targets[0])
    assert (target.model, target.options) == ("MODEL", {"key_env": "NAME"})


def test_the_ipv6_loopback_is_looked_at_too() -> None:
    class V6(ThreadingHTTPServer):
        address_family = socket.AF_INET6

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = bodies(recorded("vllm")).get(self.path)
            self.send_response(404 if body is None else 200)
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: Any) -> None:
            return None

    try:
        server = V6(("::1", 0), Handler)
    except OSError:
        pytest.skip("no IPv6 here")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        url = f"http://[::1]:{server.server_address[1]}"
        (found,) = find_servers([url], pids_of=no_pids, deadline_s=PATIENT_S)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert (found.engine, found.targets) == ("vllm", (f"vllm:{url}",))


def test_a_server_at_both_loopback_addresses_is_one() -> None:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6 here")
    with listening() as four:
        port = four.getsockname()[1]
        with socket.socket(socket.AF_INET6) as six:
            six.bind(("::1", port))
            six.listen()
            urls = usual_urls([port])
            same = find_servers(urls, deadline_s=0.1, pids_of=lambda url: (7,))
            other = find_servers(urls, deadline_s=0.1, pids_of=lambda url: (8,) if "[" in url else (7,))
            unknown = find_servers(urls, deadline_s=0.1, pids_of=no_pids)
    assert [server.url for server in same] == [f"http://127.0.0.1:{port}"]
    assert len(other) == len(unknown) == 2


def test_a_server_that_was_asked_for_is_not_listed_again() -> None:
    with serving(Playing(bodies(recorded("vllm")))) as server:
        asked = server.url.replace("127.0.0.1", "localhost")
        found = find_servers([server.url], asked=[asked], pids_of=no_pids, deadline_s=PATIENT_S)
    assert [(one.url, one.engine) for one in found] == [(asked, "vllm")]


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with serving(Playing(bodies(recorded("vllm")))) as server:
        (found,) = find_servers([server.url], pids_of=no_pids, deadline_s=PATIENT_S)
    assert found.engine == "vllm"


def test_several_models_get_a_target_each_and_the_loaded_ones_come_alone() -> None:
    names = tuple(ServedModel(name) for name in "abcd")
    assert targets_of("URL", Recognised("vLLM", "vllm", "s", models=names)) == (
        "vllm:URL#a",
        "vllm:URL#b",
        "vllm:URL#c",
    )
    loaded = (*names, ServedModel("z", loaded=True))
    assert targets_of("URL", Recognised("Ollama", "ollama", "s", models=loaded)) == ("ollama:URL#z",)
    locked = Recognised("llama-server", "llama-server", "s", needs_key=True)
    assert targets_of("URL", locked) == ("openai:URL?key_env=NAME",)


def test_the_tables_about_adapters_are_true() -> None:
    keyed = {name for name in engine_names() if "key_env" in load(name).Options.__struct_fields__}
    assert set(TAKES_A_KEY) == keyed - {"openai-sdk"}
    assert set(NEED_NO_MODEL) <= set(engine_names())


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("localhost:8080", "http://localhost:8080"),
        ("http://127.0.0.1:8080/v1/", "http://127.0.0.1:8080"),
        ("https://host.example", "https://host.example"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_an_address_as_it_is_typed(typed: str, meant: str) -> None:
    assert check_url(typed) == meant


@pytest.mark.parametrize("typed", ["", "http://", "ftp://host", "host:port", "http://h:99999", "http://[::1"])
def test_what_is_no_address_is_said(typed: str) -> None:
    with pytest.raises(TargetError) as caught:
        check_url(typed)
    assert caught.value.hint


def test_the_usual_addresses_are_loopback_only() -> None:
    urls = usual_urls()
    assert len(urls) == 2 * len(USUAL_PORTS)
    assert all(url.startswith(("http://127.0.0.1:", "http://[::1]:")) for url in urls)


@pytest.mark.engine
def test_two_real_servers_are_told_apart() -> None:
    pytest.importorskip("starlette_context")
    module: Any = load("llama-cpp-server")
    python_server: Any = None
    server = ServerProcess.launch(MODEL, Options(ctx=2048, threads=1))
    try:
        python_server = module.open_engine(parse_target(f"llama-cpp-server:{MODEL}?ctx=1024&threads=1"))
        urls = [server.url, python_server._connection.url]
        first, second = find_servers(urls, deadline_s=PATIENT_S)
    finally:
        server.close()
        if python_server is not None:
            python_server.close()
    assert (first.engine, first.state, first.slots) == ("llama-server", "serving", 4)
    assert [(m.name, m.loaded) for m in first.models] == [("tiny-f16.gguf", True)]
    assert (second.engine, second.state) == ("llama-cpp-server", "serving")
    assert [m.name for m in second.models] == ["tiny-f16.gguf"]
    assert first.pids
    assert second.pids
