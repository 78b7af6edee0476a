"""One HTTP server: JSON requests, streamed replies, and httpx's errors by our names. Knows no field of any reply."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import httpx
import msgspec

from backends import wire
from backends.base import EngineDied, EngineError, EngineFault, JsonObject, RequestRejected, Unreachable
from backends.workers.listening import listeners

REFUSED_ACCESS = (401, 403)


class Launched(Protocol):
    """A server process that was started here."""

    def alive(self) -> bool:
        """Whether it still runs."""
        ...

    def last_words(self) -> str:
        """What it said last."""
        ...

    def pids(self) -> tuple[int, ...]:
        """Its processes."""
        ...

    def load_log(self) -> str:
        """What it logged until it was ready."""
        ...

    def close(self) -> None:
        """End it."""
        ...


class Connection:
    """A server behind its address, for one request at a time. `name` is the engine's, for errors.

    `secrets` (header values with keys) are sent, and cut out of whatever the server says about them.
    """

    def __init__(
        self,
        url: str,
        name: str,
        timeout_s: float,
        *,
        headers: dict[str, str] | None = None,
        key: str | None = None,
        process: Launched | None = None,
    ) -> None:
        self.url = url
        self.process = process
        self._name = name
        self._timeout_s = timeout_s
        self._key = key
        # A connection for each request: some servers drop kept ones, which would look like a dead engine. No
        # compression: it would hold back a stream's small chunks.
        self._http = httpx.Client(
            base_url=url,
            timeout=httpx.Timeout(timeout_s, connect=10.0),
            limits=httpx.Limits(max_keepalive_connections=0),
            headers={"Accept-Encoding": "identity", **(headers or {})},
        )
        self._listeners = () if process else listeners(url)

    def json(self, method: str, path: str, body: JsonObject | None = None) -> JsonObject:
        """The JSON object that a path answers.

        Raises:
            RequestRejected, EngineFault: the server refused, failed, or answered something else.
            Unreachable, EngineDied: nobody there, or gone.
        """
        try:
            return msgspec.json.decode(self._whole(method, path, body), type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise EngineFault(f"{path} answered no JSON object", hint=f"is this a {self._name} server?") from error

    def text(self, path: str) -> str:
        """The text that a path answers; raises as `json` does."""
        return self._whole("GET", path, None).decode("utf-8", "replace")

    def offers(self, method: str, path: str, body: JsonObject | None = None) -> JsonObject | None:
        """What a path answers that a server may not have: `None` if it refuses it, fails on it, or has no JSON there.

        Raises:
            Unreachable, EngineDied: nobody there, or gone.
        """
        try:
            return self.json(method, path, body)
        except (RequestRejected, EngineFault):
            return None

    @contextmanager
    def post(self, path: str, body: JsonObject) -> Generator[httpx.Response]:
        """Send a chat request; the reply's body is still to be read, by `payloads` or `lines`.

        Raises:
            RequestRejected, EngineFault, EngineDied, Unreachable: also while the body is read inside the `with`.
        """
        # msgspec encodes a 500 kB history in under a millisecond; json takes several, inside the measured time.
        content, headers = msgspec.json.encode(body), {"Content-Type": "application/json"}
        with self.renaming(), self._http.stream("POST", path, content=content, headers=headers) as response:
            if response.status_code != 200:
                raise self.refusal(response.status_code, response.read())
            yield response

    def broken_off(self) -> EngineError:
        """The error for a stream that ended before its reply: some servers do so where they should say an error."""
        try:
            self.offers("GET", "/v1/models")
        except EngineError as error:
            return EngineDied(f"{self._name} went away before the reply was complete ({error})")
        return EngineFault(f"{self._name} ended the stream before the reply was complete", hint="its log may say why")

    def pids(self) -> tuple[int, ...]:
        """The process that was started here, or those that listen at a loopback address."""
        return self.process.pids() if self.process else self._listeners

    def close(self) -> None:
        """Close the connection and end a server that was launched here. May be called twice."""
        self._http.close()
        if self.process is not None:
            self.process.close()

    def _whole(self, method: str, path: str, body: JsonObject | None) -> bytes:
        with self.renaming():
            response = self._http.request(method, path, json=body)
        if response.status_code != 200:
            raise self.refusal(response.status_code, response.content)
        return response.content

    def refusal(self, status: int, body: bytes) -> EngineError:
        """The error for an HTTP error reply, without the key."""
        error = wire.http_error(status, self._without_key(body))
        if status in REFUSED_ACCESS:
            error.hint = "export the server's key and name its variable: key_env=NAME in the target"
        return error

    def failure(self, error: Any) -> EngineError:
        """The error for an `error` object inside a reply, without the key."""
        return wire.stream_error(msgspec.json.decode(self._without_key(msgspec.json.encode(error))))

    def _without_key(self, body: bytes) -> bytes:
        return body.replace(self._key.encode(), b"...") if self._key else body

    @contextmanager
    def renaming(self) -> Generator[None]:
        """Rename httpx's errors: nobody there, gone while it answered, or silent.

        Raises:
            Unreachable, EngineDied, EngineFault: as said.
        """
        try:
            yield
        except httpx.InvalidURL as error:
            raise Unreachable(f"{self.url} is no address ({error})", hint="write http://host:port") from error
        except httpx.TransportError as error:
            gone = self.process is not None and not self.process.alive()
            if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout) and not gone:
                raise Unreachable(
                    f"nothing answers at {self.url}", hint="start the server, or correct its address"
                ) from error
            if isinstance(error, httpx.TimeoutException) and not gone:
                raise EngineFault(
                    f"{self._name} sent nothing for {self._timeout_s:g} s", hint="raise request_timeout_s in the target"
                ) from error
            tail = f": {self.process.last_words()}" if gone and self.process else ""
            raise EngineDied(f"{self._name} went away{tail}") from error


def payloads(response: httpx.Response, *, streamed: bool) -> Iterator[bytes]:
    """The JSON payloads of a reply: of each server-sent event, or the whole body."""
    if not streamed:
        yield response.read()
        return
    decoder = wire.SseDecoder()
    for data in response.iter_raw():
        yield from (payload for payload in decoder.feed(data) if payload != b"[DONE]")
    yield from (payload for payload in decoder.end() if payload != b"[DONE]")


def lines(response: httpx.Response, *, streamed: bool) -> Iterator[bytes]:
    """The JSON payloads of a reply that is one object a line, or one object in all."""
    if not streamed:
        yield response.read()
        return
    held = b""
    for data in response.iter_raw():
        *whole, held = (held + data).split(b"\n")
        yield from (line for line in whole if line.strip())
    if held.strip():
        yield held
