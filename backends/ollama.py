"""Ollama, attached by its address: its own `/api/chat`. Written from documented fields, not verified on the real
program.

It never says what was reused (the 0 of its other interfaces is written into them, and is no evidence), so that the
cached tokens are unknown, unless the option `log` names its serve log: its engines write them there. A figure from the
log counts only if it adds up to this reply's prompt. A long `load_duration` is a model that was loaded anew, with an
empty cache; that is noted. `prompt_eval_count` is the whole prompt since 0.30.1 only; of older versions it is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec

from backends import wire
from backends.base import (
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
from backends.options import convert_options

__all__ = ["Ollama", "Options", "evidence_of", "open_engine"]

RELOAD_NS = 500_000_000
"""A model that is in memory is «loaded» in some tens of milliseconds."""
WHOLE_PROMPT_SINCE = (0, 30, 1)
_CACHED = re.compile(r"\btask\s+(\d+)\s*\|\s*(?:cached )?n_tokens = (\d+), memory_seq_rm \[")
_EVALUATED = re.compile(r"\bprompt eval time =\s+[\d.]+ ms /\s+(\d+) tokens")
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
        return Ollama(connection, facts, _Log(options.log) if options.log else None)
    except EngineError:
        connection.close()
        raise


class Ollama:
    """An Ollama and one of its models. One request at a time."""

    def __init__(self, connection: Connection, facts: Facts, log: _Log | None) -> None:
        self._connection = connection
        self._facts = facts
        self._log = log
        self._whole_prompt = _numbers(facts.build) >= WHOLE_PROMPT_SINCE

    def stream(self, request: Request) -> Iterator[Event]:
        """Serve one chat request; see `Engine.stream`."""
        body = _body(request, str(self._facts.model))
        end: JsonObject = {}
        with self._connection.post("/api/chat", body) as response:
            yield Opened()
            for payload in lines(response, streamed=request.stream):
                chunk = _decoded(payload)
                if chunk.get("error"):
                    raise EngineFault(f"ollama: {chunk['error']}")
                yield from _deltas(cast("JsonObject", chunk.get("message") or {}))
                end = chunk if chunk.get("done") else end
        if not end:
            raise self._connection.broken_off()
        yield Stop(text_of(end.get("done_reason")) or "stop")
        evidence = evidence_of(end, whole_prompt=self._whole_prompt)
        yield self._log.completed(evidence) if self._log else evidence

    def render(self, request: Request) -> None:
        """Ollama shows no prompts."""

    def facts(self) -> Facts:
        """What it said of itself when it was opened; little of a model that was not in memory then."""
        return self._facts

    def pids(self) -> tuple[int, ...]:
        """The server's process on this machine; its engines are children of it."""
        return self._connection.pids()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def evidence_of(end: JsonObject, *, whole_prompt: bool) -> Evidence:
    """What the last object of a reply says. Its durations are ns, that of the prompt for the evaluated part alone."""
    keys = {
        "generated_tokens": "eval_count",
        "prefill_ns": "prompt_eval_duration",
        "decode_ns": "eval_duration",
        **({"prompt_tokens": "prompt_eval_count"} if whole_prompt else {}),
    }
    said = {field: count for field, key in keys.items() if (count := count_of(end.get(key))) is not None}
    load_ns = count_of(end.get("load_duration")) or 0
    note = f"the model was loaded for this request ({load_ns / 1e9:.1f} s): its cache was empty"
    return Evidence(
        prompt_tokens=said.get("prompt_tokens"),
        generated_tokens=said.get("generated_tokens"),
        prefill_ns=said.get("prefill_ns"),
        decode_ns=said.get("decode_ns"),
        sources={field: keys[field] for field in said},
        log=(note,) if load_ns > RELOAD_NS else (),
    )


class _Log:
    """The serve log, read after each reply from where the last reading ended."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._read_to = 0
        self._news()

    def completed(self, said: Evidence) -> Evidence:
        """The evidence with the cached tokens of the log, if those are surely this reply's."""
        text = self._news()
        kept, slot = wire.cache_log(text)
        said = msgspec.structs.replace(said, log=said.log + kept, slot=slot)
        cached = cached_in_log(text, said.prompt_tokens)
        if cached is None or said.prompt_tokens is None:
            return said
        return msgspec.structs.replace(
            said,
            cached_tokens=cached,
            evaluated_tokens=said.prompt_tokens - cached,
            sources={
                **said.sources,
                "cached_tokens": "engine_log",
                "evaluated_tokens": "prompt_tokens - cached_tokens",
            },
        )

    def _news(self) -> str:
        try:
            with self._path.open("rb") as file:
                file.seek(self._read_to)
                data = file.read()
        except OSError as error:
            raise TargetError(f"log {self._path}: {error.strerror}", hint="give the file of ollama serve") from error
        self._read_to += len(data)
        return data.decode("utf-8", "replace")


def cached_in_log(text: str, prompt_tokens: int | None) -> int | None:
    """The cached tokens of the one request in these lines; `None` where there is not just one, or it is another's.

    Lines that come late belong to an earlier request: only those that add up to the prompt count.
    """
    found = [(int(total), int(cached)) for total, cached in _MLX.findall(text)]
    # The line repeats for every batch of a prompt: the first of a task is its cached count.
    first: dict[str, int] = {}
    for task, cached in _CACHED.findall(text):
        first.setdefault(task, int(cached))
    evaluated = [int(count) for count in _EVALUATED.findall(text)]
    if len(first) == len(evaluated) == 1:
        (cached,) = first.values()
        found.append((cached + evaluated[0], cached))
    if len(found) != 1 or len(first) > 1 or found[0][0] != prompt_tokens:
        return None
    return found[0][1]


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


def _deltas(message: JsonObject) -> Iterator[Delta]:
    if message.get("thinking"):
        yield Delta("reasoning", str(message["thinking"]))
    if message.get("content"):
        yield Delta("content", str(message["content"]))
    for call in cast("list[JsonObject]", message.get("tool_calls") or []):
        function = cast("JsonObject", call.get("function") or {})
        arguments = msgspec.json.encode(function.get("arguments") or {}).decode()
        yield Delta("tool_call", f"{function.get('name', '')}{arguments}")


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
