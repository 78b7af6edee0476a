"""llama-server (llama.cpp): attach to a running one, or launch one from a model file.

Launching prefers a `llama-server` program (`binary=`, or on PATH) and else uses the `xllamacpp` wheel, which is
llama-server linked in; either runs in a child that ends with us. Cached tokens come from `timings.cache_n`, the prompt
from the server's own `/apply-template` and `/tokenize`, log lines from its log at verbosity 4 (only when launched
here).

Output is forced with a grammar over token ids: a grammar over text would reach the same text through other tokens and
break the next turn's cache. It needs `tool_choice: none`, since llama-server refuses a grammar beside live tools; the
rendered prompt is the same.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec

from backends import gguf_header, wire
from backends.base import (
    CacheKind,
    EngineDied,
    EngineError,
    EngineFault,
    Event,
    Evidence,
    Facts,
    Forced,
    JsonObject,
    ModelFileError,
    Opened,
    Prompt,
    Request,
    RequestRejected,
    Stop,
    Target,
    TargetError,
    Unreachable,
)
from backends.http_chat.connection import payloads
from backends.options import convert_options
from backends.workers.listening import listeners
from backends.workers.llama_server_planning import open_planner
from backends.workers.llama_server_scoring import open_scorer
from backends.workers.server_process import Options, ServerProcess

__all__ = ["LlamaServer", "Options", "open_engine", "open_planner", "open_scorer"]

CHECKPOINT_OFFSET_TOKENS = 4
"""Checkpoints of a cache that cannot be cut back are taken this far before the end of a prompt."""
DEFAULT_UBATCH = 512
_SENTINEL = "dyno-7c1d-answer"
"""Stands for a tool's answer when a reply is rendered; no recorded text holds it."""


def open_engine(target: Target) -> LlamaServer:
    """Attach to `target.url`, or launch `target.model`.

    Raises:
        TargetError, MissingExtra, LaunchError, Unreachable.
    """
    options = convert_options(target.options, Options, target.engine)
    if target.url is not None:
        return LlamaServer(target.url.removesuffix("/v1"), options, process=None)
    if target.model is None:
        raise TargetError(
            "llama-server needs a model file or a URL",
            hint="llama-server:model.gguf or llama-server:http://127.0.0.1:8080",
        )
    gguf_header.read_header(target.model)
    process = ServerProcess.launch(target.model, options)
    try:
        return LlamaServer(process.url, options, process)
    except EngineError:
        process.close()
        raise


class LlamaServer:
    """A llama-server behind its address. One request at a time."""

    def __init__(self, url: str, options: Options, process: ServerProcess | None) -> None:
        self._url = url
        self._options = options
        self._process = process
        timeout = httpx.Timeout(options.request_timeout_s, connect=10.0)
        # A connection for each request: llama-server drops kept ones (up to 11 of 100 requests met that moment),
        # which would look like a dead engine.
        limits = httpx.Limits(max_keepalive_connections=0)
        self._http = httpx.Client(base_url=url, timeout=timeout, limits=limits)
        self._rendered: tuple[bytes, Prompt] | None = None
        try:
            self._props = self._json("GET", "/props")
        except RequestRejected as error:
            raise Unreachable(
                f"{url} answers, but not as a llama-server ({error})", hint="is another server running there?"
            ) from error
        self._listeners = () if process else listeners(url)
        self._eos = str(self._props.get("eos_token") or "")

    def stream(self, request: Request) -> Iterator[Event]:
        """Serve one chat request; see `Engine.stream`."""
        body = self._body(request)
        log_from = self.log_size()
        usage: JsonObject | None = None
        timings: JsonObject | None = None
        reason: str | None = None
        with self._errors(), self._send("/v1/chat/completions", body) as response:
            if response.status_code != 200:
                raise wire.http_error(response.status_code, response.read())
            yield Opened()
            for payload in payloads(response, streamed=request.stream):
                chunk = wire.decode_chunk(payload)
                if chunk.error is not None:
                    raise wire.stream_error(chunk.error)
                yield from chunk.deltas()
                usage = chunk.usage or usage
                timings = chunk.timings or timings
                reason = chunk.finish_reason() or reason
        if reason is None:
            raise EngineDied("llama-server closed the stream before the reply was complete")
        yield Stop(reason)
        yield self._evidence(usage, timings, log_from)

    def render(self, request: Request) -> Prompt:
        """The prompt by the server's own template and tokenizer."""
        body = self._body(request)
        key = msgspec.json.encode([body["messages"], body.get("tools"), request.parameters])
        if self._rendered is not None and self._rendered[0] == key:
            return self._rendered[1]
        text = self._template(body)
        prompt = Prompt(text=text, token_ids=array("i", self._tokens(text)))
        self._rendered = (key, prompt)
        return prompt

    def forced(self, request: Request, reply: JsonObject) -> Forced | None:
        """What the template puts for `reply` after this request, up to its end token.

        `None` if the template does not extend the prompt by it, if its tokens merge with the prompt's, or if one of
        them is a part of a UTF-8 character: a grammar over such a token ends the whole server.
        """
        prompt = self.render(request)
        text = self._reply_text(self._body(request), prompt.text, reply)
        if not text or not self._eos:
            return None
        tokens = self._tokens(prompt.text + text + self._eos)
        start = len(prompt.token_ids)
        if array("i", tokens[:start]) != prompt.token_ids:
            return None
        ids = tokens[start:-1]
        pieces = self._json("POST", "/tokenize", {"content": text, "parse_special": True, "with_pieces": True})
        listed = pieces["tokens"]
        if [t["id"] for t in listed] != ids or not all(isinstance(t["piece"], str) for t in listed):
            return None
        return Forced(text=text, token_ids=tuple(ids), end_token_id=tokens[-1])

    def facts(self) -> Facts:
        """Build, model, context, slots and cache kind, from `/props` and the model's header where it is on this
        disk.
        """
        props, settings = self._props, self._options.as_settings()
        path = str(props.get("model_path") or "")
        kind: CacheKind | None = None
        architecture = None
        try:
            header = gguf_header.read_header(path)
            architecture, kind = header.architecture, header.cache_kind
        except ModelFileError:
            pass  # served from another machine or cut up: its kind is then unknown
        if kind == "sliding_window" and self._options.swa_full:
            kind = "full"
        slack = CHECKPOINT_OFFSET_TOKENS + (self._options.ubatch or DEFAULT_UBATCH)
        template = str(props.get("chat_template") or "")
        return Facts(
            engine="llama-server",
            build=self._process.build if self._process and self._process.build else props.get("build_info"),
            model=Path(path).name or None,
            architecture=architecture,
            quant=props.get("model_ftype"),
            context_tokens=props.get("default_generation_settings", {}).get("n_ctx"),
            slots=props.get("total_slots"),
            cache_kind=kind,
            granularity_tokens=None if kind is None else 1 if kind == "full" else slack,
            template_sha256=hashlib.sha256(template.encode()).hexdigest() if template else None,
            launched=self._process is not None,
            settings=settings,
        )

    def pids(self) -> tuple[int, ...]:
        """The server's process: the one we started, or the one that listens at a loopback address."""
        return self._process.pids() if self._process else self._listeners

    def load_log(self) -> str:
        """What the server logged until it was ready; empty for one that was not launched here."""
        return self._process.load_log() if self._process else ""

    def url(self) -> str:
        """The server's address."""
        return self._url

    def log_size(self) -> int:
        """Bytes of log so far; 0 for a server that was not launched here."""
        return self._process.log_size() if self._process else 0

    def log_since(self, start: int) -> str:
        """The log from a byte on; empty for a server that was not launched here."""
        return self._process.log_since(start) if self._process else ""

    def close(self) -> None:
        """Close the connection and end a server that was launched here."""
        self._http.close()
        if self._process is not None:
            self._process.close()

    def _reply_text(self, body: JsonObject, prompt: str, reply: JsonObject) -> str | None:
        """The text of a reply by the template: what it adds to the prompt, up to its end token.

        A final message with tool calls is refused by a server that continues final messages (its default), so the
        tool's answer is put behind it. Without tool calls such a server leaves the message open, without an end token.
        """
        calls = reply.get("tool_calls") or ()
        answers = [{"role": "tool", "tool_call_id": c.get("id", ""), "content": _SENTINEL} for c in calls]
        messages = [*body["messages"], reply, *answers]
        full = self._template({**body, "messages": messages, "add_generation_prompt": False})
        if not full.startswith(prompt):
            return None
        added = full[len(prompt) :].partition(_SENTINEL)[0]
        before, end, _ = added.rpartition(self._eos) if self._eos else ("", "", "")
        return before if end else None if answers else added

    def _body(self, request: Request) -> JsonObject:
        body: JsonObject = {
            "messages": list(request.messages),
            "max_tokens": request.max_tokens,
            "temperature": 0,
            **request.parameters,
            "stream": request.stream,
        }
        if request.tools:
            body["tools"] = list(request.tools)
        if request.stream:
            body["stream_options"] = {"include_usage": True}
        if request.forced is not None:
            body["grammar"] = "root ::= " + " ".join(f"<[{i}]>" for i in request.forced.token_ids)
            body["max_tokens"] = len(request.forced.token_ids) + 1
            body["tool_choice"] = "none"
        return body

    def _send(self, path: str, body: JsonObject) -> AbstractContextManager[httpx.Response]:
        # msgspec encodes a 500 kB history in under a millisecond; json takes several, inside the measured time.
        content, headers = msgspec.json.encode(body), {"Content-Type": "application/json"}
        return self._http.stream("POST", path, content=content, headers=headers)

    def _evidence(self, usage: JsonObject | None, timings: JsonObject | None, log_from: int) -> Evidence:
        lines, slot = wire.cache_log(self.log_since(log_from))
        return msgspec.structs.replace(wire.evidence_of(usage, timings), log=lines, slot=slot)

    def _template(self, body: JsonObject) -> str:
        return str(self._json("POST", "/apply-template", body)["prompt"])

    def _tokens(self, text: str) -> list[int]:
        reply = self._json("POST", "/tokenize", {"content": text, "add_special": True, "parse_special": True})
        tokens: list[int] = reply["tokens"]
        return tokens

    def _json(self, method: str, path: str, body: JsonObject | None = None) -> dict[str, Any]:
        with self._errors():
            response = self._http.request(method, path, json=body)
            if response.status_code != 200:
                raise wire.http_error(response.status_code, response.content)
            try:
                return msgspec.json.decode(response.content, type=dict[str, Any])
            except msgspec.DecodeError as error:
                raise EngineFault(f"{path} answered no JSON object", hint="is this a llama-server?") from error

    @contextmanager
    def _errors(self) -> Generator[None]:
        """Rename httpx's errors: nobody there, gone while it answered, or a broken reply."""
        try:
            yield
        except httpx.TransportError as error:
            gone = self._process is not None and not self._process.alive()
            if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout) and not gone:
                seconds = self._options.request_timeout_s
                raise EngineFault(
                    f"llama-server sent nothing for {seconds:g} s", hint="raise request_timeout_s in the target"
                ) from error
            if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout) and not gone:
                raise Unreachable(
                    f"nothing answers at {self._url}", hint="start the server, or give a model file to launch one"
                ) from error
            tail = f": {self._process.last_words()}" if gone and self._process else ""
            raise EngineDied(f"llama-server went away{tail}") from error
