"""LM Studio, attached by its address: its REST interface v0 (`/api/v0/chat/completions`). Written from documented
fields, not verified on the real program.

It never says what was reused, so the cached tokens are unknown. `stats` holds rates and the time to the first token,
which is more than the prefill and so is not taken for it. A `model_load_time_seconds` there means that the model was
loaded for this request, with an empty cache; that is noted. Prompts are not shown.
"""

from __future__ import annotations

from typing import Any, cast

import msgspec

from backends import wire
from backends.base import EngineError, EngineFault, Evidence, Facts, JsonObject, Target, TargetError
from backends.http_chat.access import address_of, key_of
from backends.http_chat.chat import ChatServer, Said, count_of, text_of
from backends.http_chat.connection import Connection
from backends.options import convert_options

__all__ = ["Options", "evidence_of", "open_engine"]


class Options(msgspec.Struct, frozen=True):
    """`key_env` names the environment variable that holds the key (unset: LM_API_TOKEN; `none`: no key)."""

    key_env: str | None = None
    request_timeout_s: float = 3600.0


def open_engine(target: Target) -> ChatServer:
    """Attach to `target.url`, for the model after `#` or the only one that is loaded.

    Raises:
        TargetError: no address, no key where one is needed, or not just one model loaded and none named.
        Unreachable, RequestRejected, EngineFault: nobody there, or not an LM Studio.
    """
    options = convert_options(target.options, Options, target.engine)
    url = address_of(target, "http://127.0.0.1:1234#model")
    key = key_of(url, options.key_env, "LM_API_TOKEN")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    connection = Connection(url, "lmstudio", options.request_timeout_s, headers=headers, key=key)
    try:
        entry = _entry(connection, target.model)
        facts = Facts(
            "lmstudio",
            model=text_of(entry.get("id")),
            architecture=text_of(entry.get("arch")),
            quant=text_of(entry.get("quantization")),
            context_tokens=count_of(entry.get("loaded_context_length")),
        )
        return ChatServer(
            connection, facts, witness=evidence_of, path="/api/v0/chat/completions", keep=("stats", "runtime")
        )
    except EngineError:
        connection.close()
        raise


def evidence_of(said: Said) -> Evidence:
    """The counts of a reply, and a note if the model was loaded for it."""
    evidence = wire.evidence_of(said.usage, None)
    stats: Any = said.further.get("stats")
    load_s = cast("JsonObject", stats).get("model_load_time_seconds") if isinstance(stats, dict) else None
    if not isinstance(load_s, int | float) or isinstance(load_s, bool):
        return evidence
    note = f"the model was loaded for this request ({load_s:.1f} s): its cache was empty"
    return msgspec.structs.replace(evidence, log=(note,))


def _entry(connection: Connection, wanted: str | None) -> JsonObject:
    listed = connection.json("GET", "/api/v0/models").get("data")
    try:
        entries = msgspec.convert(listed or [], list[dict[str, Any]])
    except msgspec.ValidationError as error:
        raise EngineFault(f"{connection.url} lists no models ({error})", hint="is this an LM Studio?") from error
    if wanted is not None:
        return next((entry for entry in entries if entry.get("id") == wanted), {"id": wanted})
    loaded = [entry for entry in entries if entry.get("state") == "loaded" and entry.get("type") in ("llm", "vlm")]
    if len(loaded) == 1:
        return loaded[0]
    names = ", ".join(str(entry.get("id")) for entry in (loaded or entries)[:12])
    hint = f"name one: lmstudio:{connection.url}#model" + (f" ({names})" if names else "")
    raise TargetError(f"{connection.url} has {len(loaded) or 'no'} models loaded", hint=hint)
