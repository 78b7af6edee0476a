"""llama-cpp-python's own server (`python -m llama_cpp.server`): attach to one that runs, or launch one.

Its replies never say what was reused, and streamed ones say no counts at all. One that was launched here logs it
(`Llama.generate: N prefix-match hit, remaining M prompt tokens to eval`), and only from there are its cached tokens
known. The prompts of one that was launched here are rendered by a worker of ours (`backends.workers.llama_cpp_render`),
one that runs elsewhere shows none. It splits off neither reasoning nor tool calls, drops the reasoning of earlier
turns from what it is sent, and cannot be made to give a certain output.
"""

from __future__ import annotations

import re
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import msgspec

from backends import gguf_header, wire
from backends.base import ContextOverflow, EngineError, Evidence, Facts, MissingExtra, Target
from backends.http_chat.access import address_of, model_entry
from backends.http_chat.chat import ChatServer, Said, text_of
from backends.http_chat.connection import Connection
from backends.options import convert_options
from backends.workers.frames import Load
from backends.workers.renderer import Renderer
from backends.workers.server_process import ServerProcess, free_port

__all__ = ["Options", "evidence_in_log", "open_engine"]

NAME = "llama-cpp-server"
LOG = "engine_log"
"""The source of a figure that was read in the server's log."""
BROKEN_OFF_WAIT_S = 0.5
_HIT = re.compile(r"Llama\.generate: (\d+) prefix-match hit, remaining (\d+) prompt tokens to eval")
_ALL = "Llama.generate: full prompt already cached"
_EVALUATED = re.compile(r"\bprompt eval time =\s*[\d.]+ ms /\s*(\d+) tokens")
_TELLING = re.compile(r"Llama\.generate: .*|Llama\._create_completion: .*")
_OVERFLOW = re.compile(r"Requested tokens \((\d+)\) exceed context window of (\d+)")
_PACKAGES = ("llama_cpp", "fastapi", "uvicorn", "sse_starlette", "starlette_context", "pydantic_settings")


class Options(msgspec.Struct, frozen=True):
    """Launch settings; `None` leaves the server's own default (2048 tokens of context)."""

    ctx: int | None = None
    threads: int | None = None
    gpu_layers: int | None = None
    batch: int | None = None
    cache: bool | None = None
    logits_all: bool | None = None
    port: int | None = None
    startup_timeout_s: float = 600.0
    request_timeout_s: float = 3600.0

    def as_settings(self) -> dict[str, str]:
        """The settings that were given, as text; how long we wait for the server is not one of them."""
        given = msgspec.structs.asdict(self)
        return {k: str(v) for k, v in given.items() if v is not None and not k.endswith("_timeout_s")}


_FLAGS = {
    "ctx": ("--n_ctx",),
    "threads": ("--n_threads", "--n_threads_batch"),
    "gpu_layers": ("--n_gpu_layers",),
    "batch": ("--n_batch",),
    "cache": ("--cache",),
    "logits_all": ("--logits_all",),
}


def open_engine(target: Target) -> ChatServer:
    """Attach to `target.url`, or launch `target.model`.

    Raises:
        TargetError, ModelFileError, MissingExtra, LaunchError, Unreachable.
    """
    options = convert_options(target.options, Options, target.engine)
    if target.url is None and target.model is not None:
        return _launched(target.model, options)
    connection = Connection(address_of(target, "model.gguf"), NAME, options.request_timeout_s)
    try:
        model = text_of(model_entry(connection, target.model, NAME).get("id"))
        said = connection.offers("GET", "/openapi.json") or {}
        version = msgspec.convert(said.get("info") or {}, dict[str, object]).get("version")
        return ChatServer(connection, Facts(NAME, build=text_of(version), model=model))
    except EngineError:
        connection.close()
        raise


def _launched(path: str, options: Options) -> ChatServer:
    header = gguf_header.read_header(path)
    missing = [package for package in _PACKAGES if find_spec(package) is None]
    if missing:
        raise MissingExtra(
            f"engine {NAME} needs the package {missing[0]}", hint="pip install 'llmdyno[llama-cpp-server]'"
        )
    name, port = Path(path).name, free_port(options.port)
    renderer = Renderer.start("backends.workers.llama_cpp_render", NAME, Load(str(Path(path).absolute()), "", {}))
    try:
        process = ServerProcess.start(
            ["binary", *command_line(path, port, options)], port, None, options.startup_timeout_s, "/v1/models"
        )
    except (EngineError, KeyboardInterrupt):
        renderer.close()
        raise
    facts = Facts(
        NAME,
        build=f"llama-cpp-python {metadata.version('llama-cpp-python')}",
        model=name,
        architecture=header.architecture,
        context_tokens=options.ctx or 2048,
        slots=1,
        cache_kind=header.cache_kind,
        granularity_tokens=1 if header.cache_kind == "full" else None,
        launched=True,
        settings=options.as_settings(),
    )
    connection = Connection(process.url, NAME, options.request_timeout_s, process=process)
    return _Launched(connection, facts, process, renderer)


def command_line(path: str, port: int, options: Options) -> list[str]:
    """The program and its arguments. The alias keeps the path of the model out of the replies."""
    argv = [sys.executable, "-P", "-m", "llama_cpp.server", "--model", path, "--model_alias", Path(path).name]
    argv += ["--host", "127.0.0.1", "--port", str(port), "--verbose", "true"]
    for name, value in msgspec.structs.asdict(options).items():
        for flag in _FLAGS.get(name, ()) if value is not None else ():
            argv += [flag, str(value)]
    return argv


class _Launched(ChatServer):
    """A server with its log, and with the worker that renders its prompts."""

    def __init__(self, connection: Connection, facts: Facts, process: ServerProcess, renderer: Renderer) -> None:
        super().__init__(connection, facts, renderer=renderer.render, witness=_Log(process))
        self._prompts = renderer

    def close(self) -> None:
        """Close the connection, end the renderer and the server."""
        super().close()
        self._prompts.close()


class _Log:
    """The witness of a server that was launched here: what it logged since the last reply."""

    def __init__(self, process: ServerProcess) -> None:
        self._process = process
        self._read_to = process.log_size()

    def __call__(self, said: Said) -> Evidence:
        return evidence_in_log(self._news(0.0), wire.evidence_of(said.usage, said.timings))

    def broken_off(self) -> EngineError | None:
        """A prompt that is too long ends a stream without a word."""
        found = _OVERFLOW.search(self._news(BROKEN_OFF_WAIT_S))
        if found is None:
            return None
        prompt, context = int(found[1]), int(found[2])
        return ContextOverflow(
            f"the prompt does not fit the context: {prompt} tokens, context {context}",
            prompt_tokens=prompt,
            context_tokens=context,
        )

    def _news(self, wait_s: float) -> str:
        # The lines of a request are written before its last chunk: nothing to wait for. An error comes after it.
        text = self._process.log_since(self._read_to, wait_s)
        self._read_to = self._process.log_size()
        return text


def evidence_in_log(text: str, said: Evidence) -> Evidence:
    """What one request's log lines add to what its reply said.

    Without any prefix in common the server logs no prefix, only that it evaluated the whole prompt: 0 cached. Lines of
    several requests, or of none, tell nothing about this one.
    """
    kept = tuple(line.strip() for line in text.splitlines() if _TELLING.search(line))
    evaluated = [int(count) for count in _EVALUATED.findall(text)]
    if len(evaluated) != 1:
        return msgspec.structs.replace(said, log=kept)
    hits, whole = _HIT.findall(text), _ALL in text
    if len(hits) == 1:
        cached, fresh = int(hits[0][0]), int(hits[0][1])
    elif whole and said.prompt_tokens is not None:
        cached, fresh = said.prompt_tokens, 0
    # A prompt of one token is counted as 1 here too, but so is one of which nothing had to be evaluated.
    elif not hits and not whole and evaluated[0] > 1:
        cached, fresh = 0, evaluated[0]
    else:
        return msgspec.structs.replace(said, log=kept)
    prompt = said.prompt_tokens if said.prompt_tokens is not None else cached + fresh
    sources = {**said.sources, "cached_tokens": LOG, "evaluated_tokens": LOG}
    sources.setdefault("prompt_tokens", LOG)
    conflict = None
    if cached + fresh != prompt:
        conflict = f"the server's counts disagree: its log says {cached} + {fresh} tokens, its reply {prompt}"
    return msgspec.structs.replace(
        said,
        prompt_tokens=prompt,
        cached_tokens=cached,
        evaluated_tokens=fresh,
        sources=sources,
        log=kept,
        conflict=said.conflict or conflict,
    )
