"""llama-swap, attached by its address. Written from documented fields, not verified on the real program.

The server behind it says most: its `usage` and `timings` pass through. Where it says no cached tokens, llama-swap's
activity list may (`/api/metrics/activity`); there -1 is unknown, and `input_tokens` counts the evaluated tokens for
llama-server but the whole prompt for others, so it is not used. A model that was swapped in starts cold.
"""

from __future__ import annotations

import msgspec

from backends import wire
from backends.base import EngineError, Evidence, Facts, JsonObject, Target
from backends.http_chat.access import bearer_connection, model_entry
from backends.http_chat.chat import ChatServer, Said, text_of
from backends.http_chat.connection import Connection
from backends.http_chat.rendering import find_renderer
from backends.options import convert_options

__all__ = ["Options", "open_engine"]

ACTIVITY = "/api/metrics/activity"


class Options(msgspec.Struct, frozen=True):
    """`key_env` names the environment variable that holds the key (unset: LLAMA_SWAP_API_KEY; `none`: no key)."""

    key_env: str | None = None
    request_timeout_s: float = 3600.0


def open_engine(target: Target) -> ChatServer:
    """Attach to `target.url`, for the model after `#` or the only one that it knows.

    Raises:
        TargetError: no address, no key where one is needed, or several models and none named.
        Unreachable, RequestRejected: nobody there, or the key is refused.
    """
    options = convert_options(target.options, Options, target.engine)
    connection = bearer_connection(
        target,
        "llama-swap",
        example="http://127.0.0.1:8080#model",
        key_env=options.key_env,
        default_key_env="LLAMA_SWAP_API_KEY",
        timeout_s=options.request_timeout_s,
    )
    try:
        model = text_of(model_entry(connection, target.model, "llama-swap").get("id"))
        renderer = find_renderer(connection, model, prefix=f"/upstream/{model}")
        witness = _Activity(connection, model)
        return ChatServer(connection, Facts("llama-swap", model=model), renderer=renderer, witness=witness)
    except EngineError:
        connection.close()
        raise


class _Tokens(msgspec.Struct):
    cache_tokens: int = -1
    output_tokens: int = -1


class _Entry(msgspec.Struct):
    id: int = -1
    model: str = ""
    tokens: _Tokens = msgspec.field(default_factory=_Tokens)


class _Page(msgspec.Struct):
    """What versions since about v251 answer; older ones answer the list alone."""

    data: list[_Entry]


class _Activity:
    """The witness behind the reply: the list's one new entry, if it is this model's and counts the same output."""

    def __init__(self, connection: Connection, model: str | None) -> None:
        self._connection = connection
        self._model = model
        self._seen = max((entry.id for entry in self._entries()), default=-1)

    def __call__(self, said: Said) -> Evidence:
        """The reply's own counts, or with the cached tokens that llama-swap noted for it."""
        evidence = wire.evidence_of(said.usage, said.timings)
        new = [entry for entry in self._entries() if entry.id > self._seen]
        self._seen = max((entry.id for entry in new), default=self._seen)
        if evidence.cached_tokens is not None or len(new) != 1 or new[0].model != self._model:
            return evidence
        tokens = new[0].tokens
        if tokens.cache_tokens < 0 or tokens.output_tokens != evidence.generated_tokens:
            return evidence
        usage: JsonObject = {**(said.usage or {}), "prompt_tokens_details": {"cached_tokens": tokens.cache_tokens}}
        found = wire.evidence_of(usage, said.timings)
        source = {**found.sources, "cached_tokens": "llama-swap activity cache_tokens"}
        return msgspec.structs.replace(found, sources=source)

    def _entries(self) -> list[_Entry]:
        try:
            said = msgspec.json.decode(self._connection.text(ACTIVITY), type=list[_Entry] | _Page)
            return said.data if isinstance(said, _Page) else said
        except (EngineError, msgspec.DecodeError):
            return []
