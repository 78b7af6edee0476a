"""SGLang, attached by its address. Written from documented fields, not verified on the real program.

Its replies say the cached tokens only with `--enable-cache-report`; a missing field is unknown. Its counters
(`--enable-metrics`) are the second witness. It shows no prompts. The cache is reused in pages of `page_size` tokens.
"""

from __future__ import annotations

import msgspec

from backends.base import EngineError, Facts, Target
from backends.http_chat.access import bearer_connection, model_entry
from backends.http_chat.chat import ChatServer, count_of, text_of
from backends.http_chat.counters import Counters
from backends.http_chat.rendering import find_renderer
from backends.options import convert_options

__all__ = ["Options", "open_engine"]

FLAG = "--enable-cache-report"


class Options(msgspec.Struct, frozen=True):
    """`key_env` names the environment variable that holds the key (unset: SGLANG_API_KEY; `none`: no key)."""

    key_env: str | None = None
    request_timeout_s: float = 3600.0


def open_engine(target: Target) -> ChatServer:
    """Attach to `target.url`, for the model after `#` or the only one that it serves.

    Raises:
        TargetError: no address, no key where one is needed, or several models and none named.
        Unreachable, RequestRejected: nobody there, or the key is refused.
    """
    options = convert_options(target.options, Options, target.engine)
    connection = bearer_connection(
        target,
        "sglang",
        example="http://127.0.0.1:30000",
        key_env=options.key_env,
        default_key_env="SGLANG_API_KEY",
        timeout_s=options.request_timeout_s,
    )
    try:
        entry = model_entry(connection, target.model, "sglang")
        model = text_of(entry.get("id"))
        said = connection.offers("GET", "/get_server_info") or {}
        facts = Facts(
            "sglang",
            build=text_of(said.get("version")),
            model=model,
            context_tokens=count_of(entry.get("max_model_len")) or count_of(said.get("context_length")),
            granularity_tokens=count_of(said.get("page_size")),
        )
        witness = Counters(connection, "sglang:prompt_tokens_total", "sglang:cached_tokens_total", FLAG)
        return ChatServer(connection, facts, renderer=find_renderer(connection, model), witness=witness)
    except EngineError:
        connection.close()
        raise
