"""The same servers as `openai`, asked through the `openai` Python client: what a harness built on it sees, and when.

Without an address it is the hosted API, for a control by a frontier model; that is not verified here. The client builds
an object of every chunk, which costs 55 to 79 µs and is in all times that are taken here: they measure a harness, not
an engine. It does not try again. Prompts, models and processes are asked for on a connection beside it.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import httpx
import msgspec

from backends import missing_extra
from backends.base import EngineError, EngineFault, Facts, JsonObject, Request, Target, TargetError
from backends.http_chat.access import address_of, key_of, model_entry
from backends.http_chat.apis import Api, form_of
from backends.http_chat.chat import ChatServer, Form, Renderer, Sender, count_of, no_prompt, text_of
from backends.http_chat.connection import Connection
from backends.http_chat.rendering import find_renderer
from backends.options import convert_options

__all__ = ["OpenaiSdk", "Options", "open_engine"]

NAME = "openai-sdk"
_ARGUMENTS = {"model", "messages", "prompt", "input", "stream"}
"""What the client wants as arguments; the rest of a body may hold keys that it does not know, and goes beside them."""


class Options(msgspec.Struct, frozen=True):
    """`api` is the path under `/v1` that is used; `key_env` names the environment variable that holds the key.

    Without `key_env` that is OPENAI_API_KEY; `none`: no key, for which the client sends a word of its own.
    """

    api: Api = "chat"
    key_env: str | None = None
    request_timeout_s: float = 3600.0


def open_engine(target: Target) -> OpenaiSdk:
    """Attach to `target.url`, or to the hosted API where only a model is named.

    Raises:
        MissingExtra: the `openai` package is not installed.
        TargetError: neither address nor model, no key where one is needed, several models and none named, or
            completions of a server that shows no template.
        Unreachable, RequestRejected: nobody there, or the key is refused.
    """
    options = convert_options(target.options, Options, target.engine)
    named = (target.model or "").removeprefix("#") or None
    if target.url is None and named is None:
        raise TargetError(f"{NAME} needs an address or a model", hint=f"{NAME}:http://127.0.0.1:8000 or {NAME}:gpt-…")
    package = _package()
    base_url = f"{address_of(target, '')}/v1" if target.url else None
    # A connection for each request, as in `Connection`: with kept ones a server that drops them looks dead.
    client = package.OpenAI(
        api_key="none",
        base_url=base_url,
        max_retries=0,
        timeout=package.Timeout(options.request_timeout_s, connect=10.0),
        default_headers={"Connection": "close"},
    )
    url = str(client.base_url).rstrip("/").removesuffix("/v1")
    try:
        key = key_of(url, options.key_env, "OPENAI_API_KEY")
    except EngineError:
        client.close()
        raise
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    connection = Connection(url, NAME, options.request_timeout_s, headers=headers, key=key)
    try:
        entry = model_entry(connection, named, NAME)
        model = text_of(entry.get("id"))
        facts = Facts(NAME, build=f"openai {package.__version__}", model=model)
        facts = msgspec.structs.replace(facts, context_tokens=count_of(entry.get("max_model_len")))
        form, renderer = form_of(options.api, find_renderer(connection, model) if target.url else no_prompt)
        asked = client.with_options(api_key=key) if key else client
        return OpenaiSdk(
            connection, facts, form if target.url else _hosted(form), renderer, _Asked(package, asked, options.api)
        )
    except EngineError:
        client.close()
        connection.close()
        raise


class OpenaiSdk(ChatServer):
    """A chat through the client. One request at a time."""

    def __init__(self, connection: Connection, facts: Facts, form: Form, renderer: Renderer, asked: _Asked) -> None:
        super().__init__(connection, facts, renderer=renderer, form=form, send=asked.over(connection))
        self._asked = asked

    def close(self) -> None:
        """Close the client and the connection beside it. May be called twice."""
        self._asked.client.close()
        super().close()


class _Asked:
    """The client, and which of its methods is asked."""

    def __init__(self, package: Any, client: Any, api: Api) -> None:
        self.client = client
        self._package = package
        methods = {"chat": client.chat.completions, "completions": client.completions, "responses": client.responses}
        self._create = methods[api].create

    def over(self, connection: Connection) -> Sender:
        """The sender by this client; `connection` names the errors."""

        @contextmanager
        def send(body: JsonObject) -> Generator[Iterator[bytes]]:
            arguments = {key: value for key, value in body.items() if key in _ARGUMENTS}
            further = {key: value for key, value in body.items() if key not in _ARGUMENTS}
            with connection.renaming(), self._renaming(connection):
                reply = self._create(**arguments, extra_body=further)
                try:
                    yield self._payloads(reply) if body["stream"] else iter((self._payload(reply),))
                finally:
                    if body["stream"]:
                        reply.close()

        return send

    def _payloads(self, reply: Any) -> Iterator[bytes]:
        for chunk in reply:
            yield self._payload(chunk)

    def _payload(self, said: Any) -> bytes:
        """What the client made of a payload, as JSON: what was not sent is not in it."""
        if not isinstance(said, self._package.BaseModel):
            raise EngineFault(f"the reply cannot be parsed: the client made {str(said)[:80]!r} of it")
        return str(said.to_json(indent=None, warnings=False)).encode()

    @contextmanager
    def _renaming(self, connection: Connection) -> Generator[None]:
        """Rename the client's errors: to ours, or back to httpx's, which the connection renames."""
        package = self._package
        try:
            yield
        except package.APIStatusError as error:
            raise connection.refusal(error.status_code, error.response.content) from error
        except package.APIConnectionError as error:
            raise _as_httpx(error.__cause__ or error) from error
        except package.APIError as error:
            raise connection.failure(error.body or {"message": error.message}) from error
        except package.OpenAIError as error:
            raise EngineFault(f"the openai client gave up: {error}") from error
        except json.JSONDecodeError as error:
            raise EngineFault(f"the reply cannot be parsed ({error}): {error.doc[:80]!r}") from error


def _as_httpx(cause: BaseException) -> httpx.TransportError:
    """An error of the client's transport by its name in httpx: since 3.0 that is httpx2, which kept the names."""
    kind: Any = getattr(httpx, type(cause).__name__, None)
    known = isinstance(kind, type) and issubclass(kind, httpx.TransportError)
    return kind(str(cause)) if known else httpx.TransportError(str(cause))


def _hosted(form: Form) -> Form:
    """The form as the hosted API wants it of its reasoning models: they refuse `max_tokens` and any temperature.

    Reasoning of another model is not theirs, and is left out.
    """

    def body(request: Request, model: str | None) -> JsonObject:
        messages = tuple({k: v for k, v in message.items() if k != "reasoning_content"} for message in request.messages)
        made = form.body(msgspec.structs.replace(request, messages=messages), model)
        if "temperature" not in request.parameters:
            made.pop("temperature", None)
        if "max_tokens" in made:
            made["max_completion_tokens"] = made.pop("max_tokens")
        return made

    return msgspec.structs.replace(form, body=body)


def _package() -> Any:
    """The `openai` package, imported when it is needed: that takes about a second.

    Raises:
        MissingExtra: it, or something that it needs, is not installed.
    """
    try:
        return import_module("openai")
    except ModuleNotFoundError as error:
        raise missing_extra("openai", NAME) from error
