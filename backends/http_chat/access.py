"""Who may talk to a server and about which model: the address, the key from the environment, the model's name.

A key is read from the environment when it is needed; it is in no option, record or message.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

import msgspec

from backends.base import EngineFault, JsonObject, RequestRejected, Target, TargetError
from backends.http_chat.connection import REFUSED_ACCESS, Connection

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def address_of(target: Target, example: str) -> str:
    """The server's address without a trailing `/v1`.

    Raises:
        TargetError: the target has none; `example` shows one.
    """
    if target.url is None:
        raise TargetError(f"{target.engine} needs the address of a running server", hint=f"{target.engine}:{example}")
    return target.url.rstrip("/").removesuffix("/v1")


def key_of(url: str, key_env: str | None, default: str) -> str | None:
    """The key for a server, from the variable `key_env` or else `default`; `key_env=none` sends none.

    A default key is not sent over plain http to another machine, where anyone on the way could read it.

    Raises:
        TargetError: the variable that was named, or that a server behind https needs, is not set.
    """
    if key_env == "none":
        return None
    place = urlsplit(url)
    here = place.hostname in _LOOPBACK
    if key_env is None and not here and place.scheme != "https":
        return None
    name = key_env or default
    key = os.environ.get(name)
    if not key and (key_env is not None or not here):
        hint = "export it, or write key_env=none for a server without keys"
        raise TargetError(f"the environment variable {name} holds no key for {place.hostname}", hint=hint)
    return key or None


def model_entry(connection: Connection, wanted: str | None, engine: str) -> JsonObject:
    """The entry of `/v1/models` for a model, or for the only one; `{"id": wanted}` where the server lists none of it.

    Raises:
        TargetError: no model is named and the server has several, or none.
        RequestRejected: the server wants another key.
    """
    try:
        listed = connection.json("GET", "/v1/models").get("data")
    except (RequestRejected, EngineFault) as error:
        if wanted is None or (isinstance(error, RequestRejected) and error.status in REFUSED_ACCESS):
            raise
        listed = None
    try:
        entries = msgspec.convert(listed or [], list[dict[str, Any]])
    except msgspec.ValidationError as error:
        raise EngineFault(f"{connection.url}/v1/models lists no models", hint="is this a chat server?") from error
    names = [str(entry.get("id")) for entry in entries]
    if wanted is not None:
        return next((entry for entry in entries if entry.get("id") == wanted), {"id": wanted})
    if len(names) == 1:
        return entries[0]
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    raise TargetError(
        f"{connection.url} serves {len(names) or 'no'} models{': ' + shown if shown else ''}",
        hint=f"name one: {engine}:{connection.url}#{names[0] if names else 'model'}",
    )


def bearer_connection(
    target: Target, engine: str, *, example: str, key_env: str | None, default_key_env: str, timeout_s: float
) -> Connection:
    """A connection to `target.url`, with the key of the environment as a bearer token if there is one.

    Raises:
        TargetError: no address, or no key where one is needed.
    """
    url = address_of(target, example)
    key = key_of(url, key_env, default_key_env)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return Connection(url, engine, timeout_s, headers=headers, key=key)
