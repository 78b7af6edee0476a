"""Recorded exchanges: taken from a real engine, kept as the bytes that it sent, and parsed again by its adapter.

A folder holds `about.toml`, and for each exchange the request, the bytes, and the events that they stand for. An HTTP
engine's bytes are the body of its reply, served again from a loopback server (`recorded_http`); a worker's are its
frames; the simulated engine has none and computes its events again.

A server that cannot run here has a recording written from its documentation (`origin = "documented"`, with the page),
with an exchange for each of its traps beside the two that all have.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import httpx
import msgspec

from backends import load, open_engine, parse_target
from backends.base import Delta, Engine, Event, Evidence, Facts, Forcer, Opened, Request, Stop, Target
from backends.workers import frames
from backends.workers.process import Worker
from backends.workers.server_process import ServerProcess
from backends.workers.worker_engine import WorkerEngine
from tests.backends import recorded_http
from tests.backends.contract import CALL, RESULT, conversation

EXCHANGES = {"streamed": True, "whole": False}
DATE = "2026-11-20"
EVENTS: dict[str, type[Event]] = {"Opened": Opened, "Delta": Delta, "Evidence": Evidence, "Stop": Stop}
PROPS = ("total_slots", "model_path", "model_ftype", "build_info", "eos_token")
"""What the adapter reads of `/props`, without the template, and with the context beside them."""
CHAT = "/v1/chat/completions"


class About(msgspec.Struct, frozen=True):
    """Where a recording comes from."""

    origin: str
    program: str
    version: str
    date: str
    target: str
    source: str | None = None


def option_names(name: str) -> tuple[str, ...]:
    """The options of an engine as they are typed."""
    return tuple(load(name).Options.__struct_fields__)


def about(folder: Path) -> About:
    return msgspec.toml.decode((folder / "about.toml").read_bytes(), type=About)


def is_documented(folder: Path) -> bool:
    """Whether it was written from a documentation: the server cannot run here."""
    return (folder / "about.toml").is_file() and about(folder).origin == "documented"


def exchanges(folder: Path) -> tuple[str, ...]:
    """The exchanges of a recording: the two that all have, and its own."""
    return tuple(sorted(file.name.partition(".")[0] for file in folder.glob("*.request.json")))


def stored(folder: Path, exchange: str) -> list[Event]:
    """The events that an exchange stands for."""
    listed = msgspec.json.decode((folder / f"{exchange}.events.json").read_bytes())
    return [msgspec.convert(fields, EVENTS[kind]) for kind, fields in listed]


def replayed(name: str, folder: Path, exchange: str) -> list[Event]:
    """The events that the adapter makes of the recorded bytes now."""
    sent = msgspec.json.decode((folder / f"{exchange}.request.json").read_bytes(), type=Request)
    with _REPLAY[name](folder, exchange) as engine:
        return list(engine.stream(sent))


def record(engine: Engine, name: str, target: str, folder: Path) -> None:
    """Take the exchanges from a running engine and write the folder."""
    folder.mkdir(exist_ok=True)
    for exchange, stream in recorded_http.exchanges_of(name).items():
        sent = msgspec.structs.replace(_request(engine, name), stream=stream)
        events = _RECORD[name](engine, target, sent, folder, exchange)
        (folder / f"{exchange}.request.json").write_bytes(_pretty(sent))
        lines = [msgspec.json.encode(_as_listed(event)) for event in events]
        (folder / f"{exchange}.events.json").write_bytes(b"[\n" + b",\n".join(lines) + b"\n]\n")
    facts = engine.facts()
    origin = "simulated" if name == "scripted" else "captured"
    described = About(origin, facts.engine, facts.build or "dyno", DATE, target)
    (folder / "about.toml").write_text(
        "".join(f'{key} = "{value}"\n' for key, value in msgspec.structs.asdict(described).items() if value)
    )


def _request(engine: Engine, name: str) -> Request:
    """llama-server answers on its own, since it parses tool calls only then; those that can be forced are."""
    if name == "llama-server" or not isinstance(engine, Forcer):
        history = (CALL, RESULT, {"role": "user", "content": "Now read core/model.py."})
        return conversation("recorded", *history, tools=True, max_tokens=96)
    plain = conversation("recorded", tools=True)
    return msgspec.structs.replace(plain, forced=cast(Forcer, engine).forced(plain, CALL))


def _as_listed(event: Event) -> tuple[str, dict[str, Any]]:
    said = {key: value for key, value in msgspec.structs.asdict(event).items() if value is not None}
    return type(event).__name__, said


def _pretty(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"


def _record_scripted(engine: Engine, target: str, sent: Request, folder: Path, exchange: str) -> list[Event]:
    return list(open_engine(parse_target(target)).stream(sent))


@contextmanager
def _replay_scripted(folder: Path, exchange: str) -> Iterator[Engine]:
    yield open_engine(parse_target(about(folder).target))


class _Tape:
    """Stands for a worker: plays its recorded frames."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def generate(self, request: Request) -> Iterator[frames.Began | frames.Piece | frames.Ended]:
        descriptor = os.open(self._path, os.O_RDONLY)
        reader = frames.FrameReader(descriptor)
        try:
            with suppress(frames.PeerGone):
                while True:
                    answer = frames.answer_decoder.decode(reader.frame())
                    assert isinstance(answer, frames.Began | frames.Piece | frames.Ended)
                    yield answer
        finally:
            os.close(descriptor)


def _record_worker(engine: Engine, target: str, sent: Request, folder: Path, exchange: str) -> list[Event]:
    assert isinstance(engine, WorkerEngine | WorkerEngine)
    path = folder / f"{exchange}.frames"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        for answer in engine._worker.generate(sent):
            frames.write_frame(descriptor, answer)
    finally:
        os.close(descriptor)
    with _REPLAY[engine.facts().engine](folder, exchange) as tape:
        return list(tape.stream(sent))


@contextmanager
def _replay_mlx(folder: Path, exchange: str) -> Iterator[Engine]:
    yield WorkerEngine(cast(Worker, _Tape(folder / f"{exchange}.frames")), Facts("mlx"))


@contextmanager
def _replay_llama_cpp(folder: Path, exchange: str) -> Iterator[Engine]:
    yield WorkerEngine(cast(Worker, _Tape(folder / f"{exchange}.frames")), Facts("llama-cpp"))


class _Loopback(ThreadingHTTPServer):
    """Answers `/props` and chat requests with given bytes."""

    def __init__(self, props: bytes, reply: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies = {"/props": props, CHAT: reply}


class _Handler(BaseHTTPRequestHandler):
    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = cast(_Loopback, self.server).bodies[self.path]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _answer

    def log_message(self, format: str, *args: Any) -> None:
        return None


def _record_llama_server(engine: Engine, target: str, sent: Request, folder: Path, exchange: str) -> list[Event]:
    """Take the bytes from a server of its own, by the body that the adapter sends."""
    parsed = parse_target(target)
    adapter = load("llama-server")
    options = adapter.convert_options(parsed.options, adapter.Options, "llama-server")
    server = ServerProcess.launch(str(parsed.model), options)
    try:
        # llama-server may close a kept connection just as the next request is sent: one for each.
        with httpx.Client(base_url=server.url, timeout=60, headers={"Connection": "close"}) as http:
            said = http.get("/props").json()
            # The first reply is cold; what is recorded is warm, so that it holds cached tokens.
            reply = [http.post(CHAT, json=cast(Any, engine)._body(sent)).content for _ in range(2)][1]
    finally:
        server.close()
    context = {"n_ctx": said["default_generation_settings"]["n_ctx"]}
    props = {"default_generation_settings": context} | {key: said[key] for key in PROPS if key in said}
    (folder / "props.json").write_bytes(_pretty(props))
    (folder / f"{exchange}.reply").write_bytes(reply)
    with _replay_llama_server(folder, exchange) as tape:
        return list(tape.stream(sent))


@contextmanager
def _replay_llama_server(folder: Path, exchange: str) -> Iterator[Engine]:
    server = _Loopback((folder / "props.json").read_bytes(), (folder / f"{exchange}.reply").read_bytes())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    engine = open_engine(Target("llama-server", url=f"http://127.0.0.1:{server.server_port}"))
    try:
        yield engine
    finally:
        engine.close()
        server.shutdown()
        thread.join()
        server.server_close()


_RECORD = {
    "scripted": _record_scripted,
    "llama-cpp": _record_worker,
    "llama-server": _record_llama_server,
    "mlx": _record_worker,
}
_REPLAY = {
    "scripted": _replay_scripted,
    "llama-cpp": _replay_llama_cpp,
    "llama-server": _replay_llama_server,
    "mlx": _replay_mlx,
}
for _name in recorded_http.CHATS:
    _RECORD[_name] = recorded_http.record
    _REPLAY[_name] = recorded_http.replay
