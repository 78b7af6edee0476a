"""LM Studio, attached by its address. Written from its documents, its engines' source and its users' logs; not verified
on the real program.

Chats go to REST v0 (`/api/v0/chat/completions`). v1's `/api/v1/chat` takes neither assistant messages nor tools of the
caller (its own table of interfaces says so), and cannot carry an agent's history. From v1 comes the list of models
(`/api/v1/models`): context, slots and settings of the loaded one, and whether one was loaded at all.

No reply says what was reused. The option `log` names a file that its runtime log goes to; what its engines write there
differs by version (`_ERAS`), and counts only for a prompt as long as the reply's. `stats` holds rates and the time to
the first token, which is more than the prefill and so is not taken for it. A model that was loaded for a request has an
empty cache; that is noted. Prompts are not shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

import msgspec

from backends import wire
from backends.base import EngineError, EngineFault, Event, Evidence, Facts, JsonObject, Request, Target, TargetError
from backends.http_chat.access import address_of, key_of
from backends.http_chat.chat import ChatServer, Said, count_of
from backends.http_chat.connection import Connection
from backends.http_chat.server_log import LogFile, Statement, by_llama_server, completed
from backends.options import convert_options

__all__ = ["LmStudio", "Options", "evidence_of", "open_engine", "plain", "statements"]

_V0_CHATS = ("llm", "vlm")
CHAT = "/api/v0/chat/completions"
LOG_HINT = "give the file that `lms log stream --source runtime` is redirected to, or LM Studio's own log file"

_ERAS = {
    # GGUF until 0.3 (lmstudio-bug-tracker #778). The «Cache reuse summary» above these lines counts a token too many.
    "Prompt tokens to decode": r"Total prompt tokens: (?P<prompt>\d+)\s+Prompt tokens to decode: (?P<left>\d+)",
    # GGUF until 0.3 (lmstudio-bug-tracker #1285).
    "clearing cache instead": r"Failed to remove tokens from cache, clearing cache instead",
    # MLX until April 2026 (mlx-engine ef77245^, cache_wrapper.py); «Trimmed N tokens» does not say how many were left.
    "Clearing the cache": r"\[cache_wrapper\]\[(?:WARNING|ERROR)\]: .*[Cc]learing the cache",
    # MLX from April 2026 (mlx-engine cache_wrapper.py; lmstudio-bug-tracker #1917).
    "Prompt cache: using": r"Prompt cache: using (?P<cached>\d+)/(?P<prompt>\d+) tokens from cache",
    # MLX from May (images) and July 2026 (all): mlx-engine coordinator.py. Its figures leave out a prompt's last token;
    # lmstudio-bug-tracker #2419 has them beside the reply's count.
    "Prompt cache restore": r"Prompt cache restore: cached_tokens=(?P<cached>\d+) uncached_tokens=(?P<rest>\d+)",
    # MLX from August 2026, beside the former (mlx-engine batched_vision/model_kit.py); its numbers have commas.
    "Request prefill plan": r"Request prefill plan: prompt=(?P<prompt>[\d,]+) cached=(?P<cached>[\d,]+)",
}
"""What its engines log of a prompt, by version. llama-server's own lines, in GGUF since 0.4, are not among them."""
_LOADING = re.compile(r"model_kit\]\[INFO\]: Loading model from|llama_model_loader: loaded meta data")
_TELLING = re.compile(
    r"Cache reuse summary|Total prompt tokens|Prompt tokens to decode|clearing cache instead|cache_wrapper\]"
    rf"|Prompt cache: using|Prompt cache restore|Request prefill plan|cache reuse is not supported|{_LOADING.pattern}"
)


class Options(msgspec.Struct, frozen=True):
    """`key_env` names the environment variable that holds the key (unset: LM_API_TOKEN; `none`: no key).

    `log` is the path of the file that the runtime log goes to.
    """

    key_env: str | None = None
    log: str | None = None
    request_timeout_s: float = 3600.0


class _Model(msgspec.Struct, frozen=True):
    """A model as either list shows it, by the name that requests have to use; `loaded` is `None` if not listed."""

    name: str
    loaded: bool | None = None
    architecture: str | None = None
    quant: str | None = None
    context_tokens: int | None = None
    slots: int | None = None
    settings: dict[str, str] = {}


class _Quantization(msgspec.Struct):
    name: str | None = None


class _Instance(msgspec.Struct):
    id: str
    config: JsonObject = {}


class _V1Entry(msgspec.Struct):
    """A model in `/api/v1/models`."""

    type: str
    key: str
    architecture: str | None = None
    quantization: _Quantization | None = None
    size_bytes: int | None = None
    format: str | None = None
    loaded_instances: list[_Instance] = []


class _V0Entry(msgspec.Struct):
    """A model in `/api/v0/models`."""

    id: str
    type: str = ""
    arch: str | None = None
    quantization: str | None = None
    state: str | None = None
    loaded_context_length: int | None = None


def open_engine(target: Target) -> LmStudio:
    """Attach to `target.url`, for the model after `#` or the only one that is loaded.

    Raises:
        TargetError: no address, no key where one is needed, a log that cannot be read, or not just one model loaded
        and none named.
        Unreachable, RequestRejected, EngineFault: nobody there, or not an LM Studio.
    """
    options = convert_options(target.options, Options, target.engine)
    url = address_of(target, "http://127.0.0.1:1234#model")
    key = key_of(url, options.key_env, "LM_API_TOKEN")
    log = LogFile(options.log, LOG_HINT) if options.log else None
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    connection = Connection(url, "lmstudio", options.request_timeout_s, headers=headers, key=key)
    try:
        return LmStudio(connection, _chosen(connection, target.model), log)
    except EngineError:
        connection.close()
        raise


class LmStudio(ChatServer):
    """An LM Studio and one of its models. One request at a time."""

    def __init__(self, connection: Connection, model: _Model, log: LogFile | None) -> None:
        facts = Facts(
            "lmstudio",
            model=model.name,
            architecture=model.architecture,
            quant=model.quant,
            context_tokens=model.context_tokens,
            slots=model.slots,
            settings=model.settings,
        )
        super().__init__(connection, facts, witness=self._read, path=CHAT, keep=("stats", "runtime"))
        self._log = log
        self._loaded = model.loaded

    def stream(self, request: Request) -> Iterator[Event]:
        """Serve one chat request; see `Engine.stream`."""
        if self._log is not None:
            self._log.skip()
        return super().stream(request)

    def _read(self, said: Said) -> Evidence:
        text = plain(self._log.news(lambda news: statements(plain(news)))) if self._log else ""
        evidence = evidence_of(said, text, loaded=self._loaded is not False)
        self._loaded = True
        return evidence


def evidence_of(said: Said, log: str = "", *, loaded: bool = True) -> Evidence:
    """The counts of a reply, what the log lines of its time say of the cache, and whether the model was loaded for it.

    `loaded` is false if it was not in memory when the request was sent.
    """
    kept, slot = wire.cache_log(log)
    kept += tuple(line.strip() for line in log.splitlines() if _TELLING.search(line))
    reload = _reload(said, log, loaded=loaded)
    evidence = wire.evidence_of(said.usage, None)
    notes = (f"the model was loaded for this request ({reload}): its cache was empty",) if reload else ()
    return completed(
        msgspec.structs.replace(evidence, log=notes + kept, slot=slot, reloaded=bool(reload) or None), statements(log)
    )


def _reload(said: Said, log: str, *, loaded: bool) -> str | None:
    """How it is known that the model was loaded for the request; `None` where nothing says so."""
    stats: Any = said.further.get("stats")
    load_s = cast("JsonObject", stats).get("model_load_time_seconds") if isinstance(stats, dict) else None
    if isinstance(load_s, int | float) and not isinstance(load_s, bool):
        return f"{load_s:.1f} s"
    if not loaded:
        return "it was not in memory before"
    return "its log says so" if _LOADING.search(log) else None


def plain(text: str) -> str:
    """Lines of a log as text; those that `lms log stream --json` wrote are replaced by their message."""
    return "\n".join(_message(line) if line.startswith("{") else line for line in text.splitlines())


def _message(line: str) -> str:
    try:
        event = msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeEncodeError):
        return line
    data: Any = event.get("data")
    said = cast("JsonObject", data) if isinstance(data, dict) else {}
    return str(said.get("message") or said.get("content") or "")


def statements(text: str) -> tuple[Statement, ...]:
    """What the lines of its engines, of all versions, say of prompts."""
    found = [
        _statement(line, {name: int(number.replace(",", "")) for name, number in match.groupdict().items()})
        for line, pattern in _ERAS.items()
        for match in re.finditer(pattern, text)
    ]
    return (*found, *by_llama_server(text))


def _statement(line: str, said: dict[str, int]) -> Statement:
    """A line without numbers says that the cache was emptied."""
    prompt = said["cached"] + said["rest"] + 1 if "rest" in said else said.get("prompt")
    cached = prompt - said["left"] if prompt is not None and "left" in said else said.get("cached", 0)
    return Statement(line, cached, prompt)


def _chosen(connection: Connection, wanted: str | None) -> _Model:
    models = _listed(connection)
    if wanted is not None:
        return next((model for model in models if model.name == wanted), _Model(wanted))
    loaded = [model for model in models if model.loaded]
    if len(loaded) == 1:
        return loaded[0]
    names = ", ".join(model.name for model in (loaded or models)[:12])
    hint = f"name one: lmstudio:{connection.url}#model" + (f" ({names})" if names else "")
    raise TargetError(f"{connection.url} has {len(loaded) or 'no'} models loaded", hint=hint)


def _listed(connection: Connection) -> list[_Model]:
    """The models that can chat, from REST v1, or from v0 where there is no v1 (before 0.4)."""
    said = connection.offers("GET", "/api/v1/models") or {}
    try:
        # An LM Studio answers 200 with an `error` at paths that it does not know.
        if "models" in said:
            entries = msgspec.convert(said["models"], list[_V1Entry])
            return [model for entry in entries if entry.type == "llm" for model in _of_v1(entry)]
        listed = connection.json("GET", "/api/v0/models").get("data")
        return [_of_v0(entry) for entry in msgspec.convert(listed or [], list[_V0Entry]) if entry.type in _V0_CHATS]
    except msgspec.ValidationError as error:
        raise EngineFault(f"{connection.url} lists no models ({error})", hint="is this an LM Studio?") from error


def _of_v1(entry: _V1Entry) -> list[_Model]:
    """A model's loaded instances, each under its own name; the model itself where it has none."""
    quant = entry.quantization.name if entry.quantization else None
    model = _Model(entry.key, loaded=False, architecture=entry.architecture, quant=quant)
    sizes: JsonObject = {"format": entry.format, "size_bytes": entry.size_bytes}
    instances = [
        msgspec.structs.replace(
            model,
            name=instance.id,
            loaded=True,
            context_tokens=count_of(instance.config.get("context_length")),
            slots=count_of(instance.config.get("parallel")),
            settings={k: str(v) for k, v in {**sizes, **instance.config}.items() if v is not None},
        )
        for instance in entry.loaded_instances
    ]
    return instances or [model]


def _of_v0(entry: _V0Entry) -> _Model:
    return _Model(
        entry.id,
        loaded=entry.state == "loaded",
        architecture=entry.arch,
        quant=entry.quantization,
        context_tokens=count_of(entry.loaded_context_length),
    )
