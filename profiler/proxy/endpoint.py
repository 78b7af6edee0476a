"""An address on this machine that passes requests on to a server, unchanged, and records them with their stamps.

`http://127.0.0.1:PORT/d/NAME/v1/…` is passed on as `/v1/…` of the server; the name says whose request it is. Bytes go
both ways as they come; only the headers that belong to one connection are not passed on, and compression is not
offered, since it would hold back a stream's small chunks. It serves in a thread of this process. Nothing is read out of
the bytes here.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import aclosing, suppress
from queue import SimpleQueue
from typing import Self

import httpx
import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from profiler.measure import Clock
from profiler.proxy.exchange import CLIENT_LEFT, Exchange, Piece
from profiler.records import Failure

__all__ = ["Endpoint"]

_OF_ONE_CONNECTION = {
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade",
}  # fmt: skip
_NOT_PASSED_ON = {*_OF_ONE_CONNECTION, "accept-encoding", "content-length", "host"}


class Endpoint:
    """Passes on to the server at `upstream` what comes for a name that was allowed; a context manager.

    `clock` stamps (ns, monotonic), `wall_clock` dates; `log_size` says how long the server's log is. Each exchange is
    put into `finished` when it has ended.
    """

    def __init__(
        self,
        upstream: str,
        *,
        clock: Clock,
        wall_clock: Callable[[], int],
        log_size: Callable[[], int | None] = lambda: None,
    ) -> None:
        self.finished: SimpleQueue[Exchange] = SimpleQueue()
        self._clock = clock
        self._wall_clock = wall_clock
        self._log_size = log_size
        self._names: set[str] = set()
        self._log_marks: list[int | None] = []
        self._in_flight: dict[int, set[int]] = {}
        # A connection for each request: some servers drop kept ones. The agent alone decides how long it waits.
        self._http = httpx.AsyncClient(
            base_url=upstream,
            timeout=httpx.Timeout(None, connect=10.0),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            trust_env=False,
        )
        self._socket = socket.create_server(("127.0.0.1", 0))
        app = Starlette(routes=[Route("/d/{name}/{path:path}", _App(self))])
        config = uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, date_header=False, lifespan="off", ws="none"
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="dyno-endpoint", daemon=True)

    def base_url(self, name: str) -> str:
        """The address for the requests of this name, without `/v1`; they are passed on from now on."""
        self._names.add(name)
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/d/{name}"

    @property
    def in_flight(self) -> int:
        """Number of requests that are being answered."""
        return len(self._in_flight)

    def log_until(self, number: int) -> int | None:
        """How long the log was when the request after this one was passed on; `None` before that."""
        return self._log_marks[number] if number < len(self._log_marks) else None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        asyncio.run(self._serve_until_told())

    async def _serve_until_told(self) -> None:
        async with self._http:
            await self._server.serve(sockets=[self._socket])

    async def pass_on(self, request: Request, send: Send) -> None:
        """Pass one request on, and its reply back; when cancelled, the server is left and what came is kept."""
        name, path = request.path_params["name"], "/" + request.path_params["path"]
        if name not in self._names:
            refusal = JSONResponse({"error": {"message": f"no dispatch {name} is at work here"}}, 404)
            await refusal(request.scope, request.receive, send)
            return
        body = await request.body()
        headers = [(k, v) for k, v in request.headers.items() if k.lower() not in _NOT_PASSED_ON]
        url = httpx.URL(path=path, query=request.url.query.encode())
        asked = self._http.build_request(
            request.method, url, content=body, headers=[*headers, ("accept-encoding", "identity")]
        )
        exchange = self._begun(name, request.method, path, body)
        pieces: list[Piece] = []
        failure: Failure | None = Failure(CLIENT_LEFT, "the agent closed the connection before the reply was complete")
        try:
            async with aclosing(await self._http.send(asked, stream=True)) as reply:
                exchange = msgspec.structs.replace(exchange, status=reply.status_code, headers_ns=self._clock())
                kept = [(k, v) for k, v in reply.headers.raw if k.decode().lower() not in _OF_ONE_CONNECTION]
                await send({"type": "http.response.start", "status": reply.status_code, "headers": kept})
                async for data in reply.aiter_raw():
                    pieces.append(Piece(self._clock(), data))
                    await send({"type": "http.response.body", "body": data, "more_body": True})
                failure = None
        except httpx.TransportError as error:
            failure = _failure(error)
        finally:
            ended_ns, overlaps = self._clock(), tuple(sorted(self._in_flight[exchange.number]))
            self.finished.put(
                msgspec.structs.replace(
                    exchange, pieces=tuple(pieces), ended_ns=ended_ns, error=failure, overlaps=overlaps
                )
            )
            del self._in_flight[exchange.number]
        if failure is None:
            await send({"type": "http.response.body", "body": b""})
        elif exchange.status is None:
            refusal = JSONResponse({"error": {"message": failure.message}}, 502)
            await refusal(request.scope, request.receive, send)
        # Else the reply stays open, and the server closes the connection: the agent sees that it is cut.

    def _begun(self, name: str, method: str, path: str, body: bytes) -> Exchange:
        self._log_marks.append(self._log_size())
        number = len(self._log_marks)
        for beside in self._in_flight.values():
            beside.add(number)
        self._in_flight[number] = set(self._in_flight)
        unix_ns, now_ns = self._wall_clock(), self._clock()
        return Exchange(number, name, method, path, body, unix_ns, now_ns, log_from=self._log_marks[-1])


class _App:
    """The endpoint as an ASGI application: an agent that leaves ends its request on the server too."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            await request.body()
        except ClientDisconnect:
            return
        passing = asyncio.create_task(self._endpoint.pass_on(request, send))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait({passing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            passing.cancel()
            with suppress(asyncio.CancelledError):
                await passing


async def _left(receive: Receive) -> None:
    """Return when the agent has closed its connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _failure(error: httpx.TransportError) -> Failure:
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return Failure("Unreachable", f"nothing answers behind the endpoint ({error})")
    return Failure("EngineDied", f"the server broke off ({error or type(error).__name__})")
