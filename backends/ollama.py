"""Ollama, attached by its address: its own `/api/chat`. Written from documented fields, not verified on the real
program.

Since 0.33.3 `prompt_eval_cached_count` says what was reused; where it is missing that is unknown (the 0 of the older
versions' other interfaces is written into them, and is no evidence), unless the option `log` names its serve log: its
engines write it there, and are believed if it adds up to this reply's prompt. Where both say it, both must agree. A
long `load_duration` is a model that was loaded anew, with an empty cache; that is noted. `prompt_eval_count` is the
whole prompt since 0.30.1 only; of older versions it is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count
from typing import Any, cast

import msgspec

from backends import wire
from backends.base import (
    CallPart,
    Delta,
    EngineError,
    EngineFault,
    Event,
    Evidence,
    Facts,
    JsonObject,
    Opened,
    Request,
    RequestRejected,
    Stop,
    Target,
    TargetError,
)
from backends.http_chat.access import address_of
from backends.http_chat.chat import count_of, text_of
from backends.http_chat.connection import Connection, lines
from backends.http_chat.server_log import LogFile, Statement, by_llama_server, completed
from backends.options import convert_options

__all__ = ["Ollama", "Options", "evidence_of", "open_engine"]

RELOAD_NS = 500_000_000
"""A model that is in memory is «loaded» in some tens of milliseconds, 110 in an example of Ollama's own."""
WHOLE_PROMPT_SINCE = (0, 30, 1)
_KEYS = {
    "usage.prompt_tokens": "prompt_eval_count",
    "usage.prompt_tokens_details.cached_tokens": "prompt_eval_cached_count",
    "usage.completion_tokens": "eval_count",
}
"""Its own names for what `wire` reads in the names of OpenAI."""
LOG_HINT = "give the file that ollama serve logs to"
_MLX = re.compile(r'msg="?cache (?:hit|miss)"?.*?\btotal=(\d+) matched=\d+ cached=(\d+) left=\d+')


class Options(msgspec.Struct, frozen=True):
    """`log` is the path of the file that `ollama serve` logs to."""

    log: str | None = None
    request_timeout_s: float = 3600.0


class _Loaded(msgspec.Struct):
    """A model in `/api/ps` or `/api/tags`."""

    name: str = ""
    context_length: int | None = None
    details: JsonObject = {}


def open_engine(target: Target) -> Ollama:
    """Attach to `target.url`, for the model after `#` or the only one that is there.

    Raises:
        TargetError: no address, a log that cannot be read, or several models and none named.
        Unreachable, RequestRejected: nobody there, or not an Ollama.
    """
    options = convert_options(target.options, Options, target.engine)
    connection = Connection(address_of(target, "http://127.0.0.1:11434#model"), "ollama", options.request_timeout_s)
    try:
        version = text_of(connection.json("GET", "/api/version").get("version"))
        name = target.model or _only_model(connection)
        running = next((model for model in _models(connection, "/api/ps") if model.name == name), _Loaded())
        facts = Facts(
            "ollama",
            build=version,
            model=name,
            architecture=text_of(running.details.get("family")),
            quant=text_of(running.details.get("quantization_level")),
            context_tokens=count_of(running.context_length),
        )
        return Ollama(connection, facts, LogFile(options.log, LOG_HINT) if options.log else None)
    except EngineError:
        connection.close()
        raise


class Ollama:
    """An Ollama and one of its models. One request at a time."""

    def __init__(self, connection: Connection, facts: Facts, log: LogFile | None) -> None:
        self._connection = connection
        self._facts = facts
        self._log = log
        self._whole_prompt = _numbers(facts.build) >= WHOLE_PROMPT_SINCE

    def stream(self, request: Request) -> Iterator[Event]:
        """Serve one chat request; see `Engine.stream`."""
        body = _body(request, str(self._facts.model))
        end: JsonObject = {}
        calls = count()
        if self._log is not None:
            self._log.skip()
        with self._connection.post("/api/chat", body) as response:
            yield Opened()
            for payload in lines(response, streamed=request.stream):
                chunk = _decoded(payload)
                if chunk.get("error"):
                    raise EngineFault(f"ollama: {chunk['error']}")
                yield from _deltas(cast("JsonObject", chunk.get("message") or {}), calls)
                end = chunk if chunk.get("done") else end
        if not end:
            raise self._connection.broken_off()
        yield Stop(text_of(end.get("done_reason")) or "stop")
        evidence = evidence_of(end, whole_prompt=self._whole_prompt)
        yield with_log(evidence, self._log.news(statements)) if self._log else evidence

    def render(self, request: Request) -> None:
        """Ollama shows no prompts."""

    def facts(self) -> Facts:
        """What it said of itself when it was opened; little of a model that was not in memory then."""
        return self._facts

    def pids(self) -> tuple[int, ...]:
        """The server's process on this machine; its engines are children of it."""
        return self._connection.pids()

    def url(self) -> str:
        """The server's address, without `/v1`."""
        return self._connection.url

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def evidence_of(end: JsonObject, *, whole_prompt: bool) -> Evidence:
    """What the last object of a reply says. Its durations are ns, that of the prompt for the evaluated part alone."""
    usage: JsonObject = {
        "prompt_tokens": count_of(end.get("prompt_eval_count")) if whole_prompt else None,
        "prompt_tokens_details": {"cached_tokens": end.get("prompt_eval_cached_count")},
        "completion_tokens": count_of(end.get("eval_count")),
    }
    said = wire.evidence_of(usage, None)
    times = {
        field: (key, duration)
        for field, key in (("prefill_ns", "prompt_eval_duration"), ("decode_ns", "eval_duration"))
        if (duration := count_of(end.get(key))) is not None
    }
    said_ns = count_of(end.get("load_duration"))
    load_ns = said_ns or 0
    note = f"the model was loaded for this request ({load_ns / 1e9:.1f} s): its cache was empty"
    return msgspec.structs.replace(
        said,
        **{field: duration for field, (_, duration) in times.items()},
        sources={field: _KEYS.get(source, source) for field, source in said.sources.items()}
        | {field: key for field, (key, _) in times.items()},
        log=(note,) if load_ns > RELOAD_NS else (),
        reloaded=None if said_ns is None else load_ns > RELOAD_NS,
    )


def with_log(said: Evidence, text: str) -> Evidence:
    """The evidence with what the serve log says of the request."""
    kept, slot = wire.cache_log(text)
    return completed(msgspec.structs.replace(said, log=said.log + kept, slot=slot), statements(text))


def statements(text: str) -> tuple[Statement, ...]:
    """What the lines of its two engines say: llama-server and the MLX runner."""
    mlx = (Statement("cache hit or miss", int(cached), int(total)) for total, cached in _MLX.findall(text))
    return (*mlx, *by_llama_server(text))


def _body(request: Request, model: str) -> JsonObject:
    parameters = {key: value for key, value in request.parameters.items() if key != "options"}
    settings: JsonObject = {
        "num_predict": request.max_tokens,
        "temperature": 0,
        **(request.parameters.get("options") or {}),
    }
    body: JsonObject = {
        "model": model,
        "messages": [_message(message) for message in request.messages],
        **parameters,
        "options": settings,
        "stream": request.stream,
    }
    if request.tools:
        body["tools"] = list(request.tools)
    return body


def _message(message: JsonObject) -> JsonObject:
    """A chat message in Ollama's form: reasoning is `thinking`, and a tool's arguments are an object."""
    made = {key: value for key, value in message.items() if key not in ("reasoning_content", "tool_calls")}
    if message.get("reasoning_content"):
        made["thinking"] = message["reasoning_content"]
    if message.get("tool_calls"):
        made["tool_calls"] = [_call(call) for call in message["tool_calls"]]
    return made


def _call(call: JsonObject) -> JsonObject:
    function = dict(call.get("function") or {})
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        try:
            function["arguments"] = msgspec.json.decode(arguments or "{}", type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise RequestRejected(f"the arguments of a tool call are no JSON object: {arguments[:80]!r}") from error
    return {**call, "function": function}


def _deltas(message: JsonObject, calls: Iterator[int]) -> Iterator[Delta]:
    """The text of a chunk; `calls` counts the calls of the reply, which come whole."""
    if message.get("thinking"):
        yield Delta("reasoning", str(message["thinking"]))
    if message.get("content"):
        yield Delta("content", str(message["content"]))
    for call in cast("list[JsonObject]", message.get("tool_calls") or []):
        function = cast("JsonObject", call.get("function") or {})
        name = str(function.get("name", ""))
        arguments = msgspec.json.encode(function.get("arguments") or {}).decode()
        yield Delta("tool_call", f"{name}{arguments}", call=CallPart(next(calls), name=name, arguments=arguments))


def _decoded(payload: bytes) -> JsonObject:
    try:
        return msgspec.json.decode(payload, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        shown = payload[:80].decode("utf-8", "replace")
        raise EngineFault(f"the reply cannot be parsed ({error}): {shown!r}") from error


def _models(connection: Connection, path: str) -> list[_Loaded]:
    try:
        return msgspec.convert((connection.offers("GET", path) or {}).get("models") or [], list[_Loaded])
    except msgspec.ValidationError as error:
        raise EngineFault(f"{path} lists no models ({error})", hint="is this an Ollama?") from error


def _only_model(connection: Connection) -> str:
    names = [model.name for model in _models(connection, "/api/tags")]
    if len(names) == 1:
        return names[0]
    shown = ", ".join(names[:12])
    hint = f"name one: ollama:{connection.url}#{names[0] if names else 'model'}"
    raise TargetError(f"{connection.url} has {len(names) or 'no'} models{': ' + shown if shown else ''}", hint=hint)


def _numbers(version: str | None) -> tuple[int, ...]:
    """`0.30.1-rc2` as (0, 30, 1); nothing where no version is said."""
    return tuple(int(part) for part in re.findall(r"\d+", (version or "").partition("-")[0])[:3])
