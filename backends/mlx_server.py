"""mlx_lm.server: attach to a running one, or launch one on a model folder.

The wire is OpenAI's, without timings: dyno's own clock stands alone. Cached tokens come from
`usage.prompt_tokens_details.cached_tokens`. Its keep-alive comments count the uncached part of the prompt alone, and
are not read. Prompts are rendered by a worker of ours with the same template and tokenizer
(`backends.workers.mlx_render`) where the model folder is on this disk, and not at all where it is not.

No seed is sent unless the request names one: it makes the server leave its batched path, which stores other caches.
Output cannot be forced. The server has no limit of context; `ctx` is kept here, before a request is sent.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Annotated

import msgspec

from backends import missing_extra, wire
from backends.base import (
    ContextOverflow,
    EngineError,
    EngineFault,
    Event,
    Facts,
    JsonObject,
    LaunchError,
    ModelFileError,
    Opened,
    Prompt,
    Request,
    Stop,
    Target,
    TargetError,
    Unreachable,
)
from backends.http_chat.connection import Connection, payloads
from backends.options import convert_options
from backends.workers.frames import Load
from backends.workers.model_folder import ModelFolder, read_folder, read_template
from backends.workers.renderer import Renderer
from backends.workers.server_process import ServerProcess, free_port

__all__ = ["MlxServer", "Options", "open_engine"]

CHAT = "/v1/chat/completions"
NAME = "mlx_lm.server"
_NEVER_SERVED: JsonObject = {"messages": [{"role": "user", "content": [{"type": "dyno-is-it-loaded"}]}]}
"""The server answers `/health` while it loads, but refuses this, of which nothing is cached, only when loaded."""

Count = Annotated[int, msgspec.Meta(ge=1)]


class Options(msgspec.Struct, frozen=True):
    """Launch settings; `None` leaves mlx_lm.server's own default.

    `ctx` is kept here and not by the server, which knows no limit. `folder` is where a server that was started
    elsewhere has its model, for rendering prompts.
    """

    ctx: Count | None = None
    prompt_cache_size: Count | None = None
    prompt_cache_bytes: Count | None = None
    prefill_step: Count | None = None
    decode_concurrency: Count | None = None
    prompt_concurrency: Count | None = None
    kv_bits: Count | None = None
    kv_group: Count | None = None
    kv_start: Annotated[int, msgspec.Meta(ge=0)] | None = None
    template: str = ""
    folder: str = ""
    port: int | None = None
    startup_timeout_s: float = 600.0
    request_timeout_s: float = 3600.0

    def as_settings(self) -> dict[str, str]:
        """The settings that were given, as text; how long we wait and where the model lies are none of them."""
        given = msgspec.structs.asdict(self).items()
        return {k: str(v) for k, v in given if v not in (None, "") and not k.endswith("_timeout_s") and k != "folder"}


_FLAGS = {
    "prompt_cache_size": "--prompt-cache-size",
    "prompt_cache_bytes": "--prompt-cache-bytes",
    "prefill_step": "--prefill-step-size",
    "decode_concurrency": "--decode-concurrency",
    "prompt_concurrency": "--prompt-concurrency",
    "kv_bits": "--kv-bits",
    "kv_group": "--kv-group-size",
    "kv_start": "--quantized-kv-start",
}


def open_engine(target: Target) -> MlxServer:
    """Attach to `target.url`, or launch a server on the folder `target.model`.

    Raises:
        TargetError, MissingExtra, LaunchError, Unreachable.
    """
    options = convert_options(target.options, Options, "mlx-server")
    template = read_template(options.template)
    if target.url is not None:
        return attach(target.url.removesuffix("/v1"), target.model, options, template)
    for package in ("mlx", "mlx_lm"):
        if find_spec(package) is None:
            raise missing_extra(package, "mlx-server")
    if target.model is None:
        raise TargetError(
            "mlx-server needs a model folder or a URL", hint="mlx-server:FOLDER or mlx-server:http://127.0.0.1:8080"
        )
    folder = read_folder(target.model)
    renderer = renderer_of(folder, template)
    try:
        connection = launch(folder, template, options, renderer.ready.build)
    except (EngineError, KeyboardInterrupt):
        renderer.close()
        raise
    return MlxServer(connection, None, options, folder, renderer, template)


def attach(url: str, model: str | None, options: Options, template: str) -> MlxServer:
    """Reach a running server; its prompts are rendered here if its folder is on this disk and mlx-lm is installed."""
    connection = Connection(url, NAME, options.request_timeout_s)
    try:
        if connection.offers("GET", "/health") is None:
            raise Unreachable(f"{url} answers, but not as an mlx_lm.server in order", hint="see its log")
        named = options.folder or served_folder(connection)
        folder = read_folder(named) if named else None
        able = folder is not None and all(find_spec(package) for package in ("mlx", "mlx_lm"))
        renderer = renderer_of(folder, template) if folder and able else None
    except (EngineError, KeyboardInterrupt):
        connection.close()
        raise
    return MlxServer(connection, model, options, folder, renderer, template)


def renderer_of(folder: ModelFolder, template: str) -> Renderer:
    """What renders the prompts of a folder. Raises `LaunchError`."""
    return Renderer.start("backends.workers.mlx_render", "mlx-server", Load(str(folder.path.absolute()), template, {}))


def launch(folder: ModelFolder, template: str, options: Options, build: str) -> Connection:
    """Start a server on a folder, and wait until its model is loaded. Raises `LaunchError`."""
    port = free_port(options.port)
    argv = [sys.executable, "-P", "-m", "mlx_lm", "server", "--model", str(folder.path.absolute())]
    argv += ["--host", "127.0.0.1", "--port", str(port)]
    for name, flag in _FLAGS.items():
        if (value := getattr(options, name)) is not None:
            argv += [flag, str(value)]
    argv += ["--chat-template", template] if template else []
    process = ServerProcess.start(["binary", *argv], port, build, options.startup_timeout_s)
    loading = Connection(process.url, NAME, options.startup_timeout_s, process=process)
    try:
        loading.offers("POST", CHAT, _NEVER_SERVED)
        if loading.offers("GET", "/health") is None:
            raise LaunchError(f"mlx_lm.server could not load {folder.path}: {process.last_words()}")
    except (EngineError, KeyboardInterrupt):
        loading.close()
        raise
    return Connection(process.url, NAME, options.request_timeout_s, process=process)


def served_folder(connection: Connection) -> str | None:
    """The folder of this disk that a server lists as its model; `None` where it lists none, or cannot list."""
    try:
        listed = connection.offers("GET", "/v1/models") or {}
        names = [str(entry.get("id")) for entry in msgspec.convert(listed.get("data", []), list[JsonObject])]
    except (EngineError, msgspec.ValidationError):
        # Without a Hugging Face cache mlx_lm.server (0.32) breaks this connection off.
        return None
    for name in names:
        try:
            return str(read_folder(name).path)
        except ModelFileError:
            continue
    return None


class MlxServer:
    """An mlx_lm.server behind its address. One request at a time."""

    def __init__(
        self,
        connection: Connection,
        model: str | None,
        options: Options,
        folder: ModelFolder | None,
        renderer: Renderer | None,
        template: str,
    ) -> None:
        self._connection = connection
        self._model = model
        self._options = options
        self._folder = folder
        self._renderer = renderer
        self._template = template
        self._context_tokens = options.ctx or (folder.context_tokens if folder else None)
        self._rendered: tuple[bytes, Prompt] | None = None

    def stream(self, request: Request) -> Iterator[Event]:
        """Serve one chat request; see `Engine.stream`."""
        self._check_room(request)
        usage: JsonObject | None = None
        reason: str | None = None
        with self._connection.post(CHAT, self._body(request)) as response:
            yield Opened()
            for payload in payloads(response, streamed=request.stream):
                chunk = wire.decode_chunk(payload)
                if chunk.error is not None:
                    raise wire.stream_error(chunk.error)
                yield from chunk.deltas()
                usage = chunk.usage or usage
                reason = chunk.finish_reason() or reason
        if reason is None:
            raise EngineFault(f"{NAME} ended the stream before the reply was complete", hint="its log may say why")
        yield Stop(reason)
        yield wire.evidence_of(usage, None)

    def render(self, request: Request) -> Prompt | None:
        """The prompt by the model's own template and tokenizer; `None` where its folder is not on this disk.

        Raises:
            RequestRejected: messages that the template refuses.
        """
        if self._renderer is None:
            return None
        key = msgspec.json.encode([request.messages, request.tools, request.parameters])
        if self._rendered is None or self._rendered[0] != key:
            self._rendered = (key, self._renderer.render(request))
        return self._rendered[1]

    def facts(self) -> Facts:
        """What the folder says of the model; a server elsewhere says nothing of itself."""
        renderer, folder = self._renderer, self._folder
        launched = self._connection.process is not None
        kind = renderer.ready.cache_kind if renderer else None
        return Facts(
            engine="mlx-server",
            build=renderer.ready.build if renderer and launched else None,
            model=folder.path.absolute().name if folder else self._model,
            architecture=folder.architecture if folder else None,
            quant=folder.quant if folder else None,
            context_tokens=self._context_tokens,
            cache_kind=kind,
            granularity_tokens=1 if kind == "full" else None,
            template_sha256=folder.template_sha256(self._template) if folder and renderer else None,
            launched=launched,
            settings={"server": NAME} | self._options.as_settings(),
        )

    def pids(self) -> tuple[int, ...]:
        """The server's process: the one we started, or the one that listens at a loopback address."""
        return self._connection.pids()

    def load_log(self) -> str:
        """What the server logged until it was ready; empty for one that was not launched here."""
        return self._connection.process.load_log() if self._connection.process else ""

    def url(self) -> str:
        """The server's address, without `/v1`."""
        return self._connection.url

    def close(self) -> None:
        """Close the connection, end the renderer and a server that was launched here."""
        self._connection.close()
        if self._renderer is not None:
            self._renderer.close()

    def _body(self, request: Request) -> JsonObject:
        body: JsonObject = {
            "messages": list(request.messages),
            "max_tokens": request.max_tokens,
            "temperature": 0,
            **request.parameters,
            "stream": request.stream,
        }
        # Only a name that the user gave: any other than the one it was started with makes the server load a model.
        if self._model:
            body["model"] = self._model
        if request.tools:
            body["tools"] = list(request.tools)
        if request.stream:
            body["stream_options"] = {"include_usage": True}
        return body

    def _check_room(self, request: Request) -> None:
        prompt = self.render(request)
        if prompt is None or self._context_tokens is None or len(prompt.token_ids) < self._context_tokens:
            return
        raise ContextOverflow(
            f"the prompt has {len(prompt.token_ids)} tokens, the context {self._context_tokens}",
            prompt_tokens=len(prompt.token_ids),
            context_tokens=self._context_tokens,
        )
