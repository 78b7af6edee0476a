"""vLLM, attached by its address. Written from documented fields, not verified on the real program.

Its replies say the cached tokens only with `--enable-prompt-tokens-details`, and older ones leave the field out where
it is 0: a missing field is unknown. Its counters are the second witness, its `/tokenize` shows the prompts. The cache
is reused in blocks; their size is in `vllm:cache_config_info`, where hybrid models show their larger ones.
"""

from __future__ import annotations

import msgspec

from backends.base import EngineError, Facts, Target
from backends.http_chat.access import bearer_connection, model_entry
from backends.http_chat.chat import ChatServer, count_of, text_of
from backends.http_chat.connection import Connection
from backends.http_chat.counters import Counters, label
from backends.http_chat.rendering import find_renderer
from backends.options import convert_options

__all__ = ["Options", "open_engine"]

FLAG = "--enable-prompt-tokens-details"


class Options(msgspec.Struct, frozen=True):
    """`key_env` names the environment variable that holds the key (unset: VLLM_API_KEY; `none`: no key)."""

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
        "vllm",
        example="http://127.0.0.1:8000",
        key_env=options.key_env,
        default_key_env="VLLM_API_KEY",
        timeout_s=options.request_timeout_s,
    )
    try:
        entry = model_entry(connection, target.model, "vllm")
        model = text_of(entry.get("id"))
        facts = Facts(
            "vllm",
            build=text_of((connection.offers("GET", "/version") or {}).get("version")),
            model=model,
            context_tokens=count_of(entry.get("max_model_len")),
            granularity_tokens=_block_tokens(connection),
        )
        witness = Counters(connection, "vllm:prompt_tokens_total", "vllm:prompt_tokens_cached_total", FLAG)
        return ChatServer(connection, facts, renderer=find_renderer(connection, model), witness=witness)
    except EngineError:
        connection.close()
        raise


def _block_tokens(connection: Connection) -> int | None:
    try:
        size = label(connection.text("/metrics"), "vllm:cache_config_info", "block_size")
    except EngineError:
        return None
    return int(size) if size is not None and size.isdecimal() else None
