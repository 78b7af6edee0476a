"""Recordings of HTTP servers: taken through a proxy that keeps what it passes on, played by a loopback server.

Beside the bytes of each reply a folder holds `answers.json`: what the server answers at every other path, as JSON or as
text. A path that is not in it does not exist.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import httpx
import msgspec

from backends import open_engine, parse_target
from backends.base import Engine, Event, Request, Target
from backends.options import convert_options
from backends.workers.server_process import Options, ServerProcess

MODEL = "profiles/models/tiny/tiny-f16.gguf"
CHATS = {
    "anthropic": "/v1/messages",
    "llama-cpp-server": "/v1/chat/completions",
    "lmstudio": "/api/v0/chat/completions",
    "mlx-server": "/v1/chat/completions",
    "llama-swap": "/v1/chat/completions",
    "ollama": "/api/chat",
    "openai": "/v1/chat/completions",
    "openai-sdk": "/v1/chat/completions",
    "sglang": "/v1/chat/completions",
    "vllm": "/v1/chat/completions",
}
"""The engines that are recorded in this way, and where each of them is asked to chat."""
APIS = {
    "openai": {"completions": "/v1/completions", "responses": "/v1/responses"},
    "openai-sdk": {"responses": "/v1/responses"},
}
"""Engines that ask in other forms too: the names that the option `api` gives them, and where they are asked."""
MODELS = "/v1/models"
ON_LLAMA_SERVER = {"openai", "openai-sdk", "anthropic"}
"""Engines that are wires: the real server behind them is a llama-server."""


def llama_server() -> ServerProcess:
    return ServerProcess.launch(MODEL, convert_options({"ctx": "8192", "threads": "1"}, Options, "llama-server"))


def opened(target: str) -> Engine:
    """The engine that a target names; `URL` in it is a llama-server that is launched, and ends with the engine."""
    if "URL" not in target:
        return open_engine(parse_target(target))
    process = llama_server()
    engine: Any = open_engine(parse_target(target.replace("URL", process.url)))
    engine._connection.process = process
    return cast(Engine, engine)


class Playing(ThreadingHTTPServer):
    """Answers given paths with given bytes; what was asked is kept in `asked`."""

    def __init__(self, answers: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Player)
        self.answers = answers
        self.asked: list[tuple[str, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        if path not in self.answers:
            return 404, b'{"error": {"message": "not found"}}'
        return 200, self.answers[path]


class Passing(Playing):
    """Passes every request on to a real server, and keeps its answers."""

    def __init__(self, upstream: str) -> None:
        super().__init__({})
        self._http = httpx.Client(base_url=upstream, timeout=60, headers={"Connection": "close"})

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json"}
        reply = self._http.request(method, path, content=body, headers=headers)
        if reply.status_code == 200:
            self.answers[path] = reply.content
        return reply.status_code, reply.content

    def server_close(self) -> None:
        super().server_close()
        self._http.close()


class _Player(BaseHTTPRequestHandler):
    def _answer(self) -> None:
        server = cast(Playing, self.server)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        server.asked.append((self.path, dict(self.headers), body))
        status, said = server.answer(self.command, self.path, body)
        streamed = said.startswith((b"data:", b"event:"))
        self.send_response(status)
        self.send_header("Content-Type", "text/event-stream" if streamed else "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_GET = do_POST = _answer

    def log_message(self, format: str, *args: Any) -> None:
        return None


@contextmanager
def serving(server: Playing) -> Iterator[Playing]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def played(
    name: str, answers: dict[str, bytes], model: str | None = None, **options: str
) -> Iterator[tuple[Any, Playing]]:
    """An engine in front of given answers."""
    with serving(Playing(answers)) as server:
        engine = open_engine(Target(name, model, server.url, options))
        try:
            yield engine, server
        finally:
            engine.close()


def record(engine: Engine, target: str, sent: Request, folder: Path, exchange: str) -> list[Event]:
    """Take one exchange through the proxy, from the second of two equal requests: the first one is cold."""
    name = folder.name
    path, options = asked_at(name, exchange)
    with serving(Passing(cast(Any, engine)._connection.url)) as server:
        through = open_engine(Target(name, url=server.url, options=options))
        try:
            for _ in range(2):
                list(through.stream(sent))
        finally:
            through.close()
        answers = dict(server.answers)
    (folder / f"{exchange}.reply").write_bytes(answers.pop(path))
    # A path at which the server fails is sent an empty body by some, which is as good as none.
    said = {path: _shown(path, body) for path, body in sorted(answers.items()) if body}
    if options:
        shared = msgspec.json.decode((folder / "answers.json").read_bytes())
        own = {key: value for key, value in said.items() if key != MODELS and value != shared.get(key)}
        if own:
            (folder / f"{exchange}.answers.json").write_bytes(_pretty(own))
    else:
        (folder / "answers.json").write_bytes(_pretty(said))
    with replay(folder, exchange) as tape:
        return list(tape.stream(sent))


def exchanges_of(name: str) -> dict[str, bool]:
    """The exchanges that are recorded of an engine, and whether each is streamed."""
    further = {f"{api}-{way}": way == "streamed" for api in APIS.get(name, ()) for way in ("streamed", "whole")}
    return {"streamed": True, "whole": False} | further


def asked_at(name: str, exchange: str) -> tuple[str, dict[str, str]]:
    """Where the reply of an exchange comes from, and the options that make the adapter ask there."""
    api = exchange.partition("-")[0]
    path = APIS.get(name, {}).get(api)
    return (path, {"api": api}) if path else (CHATS[name], {})


def _shown(path: str, body: bytes) -> Any:
    said = msgspec.json.decode(body)
    return {"info": said["info"]} if path == "/openapi.json" else said


@contextmanager
def replay(folder: Path, exchange: str) -> Iterator[Engine]:
    said = msgspec.json.decode((folder / "answers.json").read_bytes(), type=dict[str, Any])
    own = folder / f"{exchange}.answers.json"
    if own.is_file():
        said |= msgspec.json.decode(own.read_bytes(), type=dict[str, Any])
    answers = {
        path: body.encode() if isinstance(body, str) else msgspec.json.encode(body) for path, body in said.items()
    }
    path, options = asked_at(folder.name, exchange)
    answers[path] = (folder / f"{exchange}.reply").read_bytes()
    with played(folder.name, answers, **options) as (engine, _):
        yield engine


def _pretty(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"
