"""Any server with an OpenAI interface, attached by its address: chat completions, completions or responses.

Cached tokens are `usage.prompt_tokens_details.cached_tokens`, of responses `usage.input_tokens_details.cached_tokens`
(or llama.cpp's `timings`, if the server sends them); where neither is sent they are unknown. Prompts are shown only if
the server offers llama-server's `/apply-template` or vLLM's `/tokenize`. Output cannot be forced here, and nothing is
launched.
"""

from __future__ import annotations

import msgspec

from backends.base import EngineError, Facts, Target
from backends.http_chat.access import bearer_connection, model_entry
from backends.http_chat.apis import Api, form_of
from backends.http_chat.chat import ChatServer, count_of, text_of
from backends.http_chat.rendering import find_renderer
from backends.options import convert_options

__all__ = ["Options", "open_engine"]


class Options(msgspec.Struct, frozen=True):
    """`api` is the path under `/v1` that is used; `key_env` names the environment variable that holds the key.

    Without `key_env` that is OPENAI_API_KEY; `none`: no key.
    """

    api: Api = "chat"
    key_env: str | None = None
    request_timeout_s: float = 3600.0


def open_engine(target: Target) -> ChatServer:
    """Attach to `target.url`, for the model after `#` or the only one that it serves.

    Raises:
        TargetError: no address, no key where one is needed, several models and none named, or completions of a server
            that shows no template.
        Unreachable, RequestRejected: nobody there, or the key is refused.
    """
    options = convert_options(target.options, Options, target.engine)
    connection = bearer_connection(
        target,
        "openai",
        example="http://127.0.0.1:8000#model",
        key_env=options.key_env,
        default_key_env="OPENAI_API_KEY",
        timeout_s=options.request_timeout_s,
    )
    try:
        entry = model_entry(connection, target.model, "openai")
        model = text_of(entry.get("id"))
        facts = Facts("openai", model=model, context_tokens=count_of(entry.get("max_model_len")))
        form, renderer = form_of(options.api, find_renderer(connection, model))
        return ChatServer(connection, facts, renderer=renderer, form=form)
    except EngineError:
        connection.close()
        raise
