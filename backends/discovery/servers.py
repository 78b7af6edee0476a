"""Find the servers that listen on this machine, at the ports where they usually do, and at addresses that are given.

All addresses are asked at once, each within a deadline, so that a server which accepts and never answers costs that
long and no more. Nothing but GET is sent, and never a key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final, Literal
from urllib.parse import urlsplit

import httpx
import msgspec

from backends.base import TargetError
from backends.discovery.recognition import PATHS, Answer, Recognised, ServedModel, recognise
from backends.workers.listening import listeners

__all__ = ["DEADLINE_S", "USUAL_PORTS", "FoundServer", "check_url", "find_servers", "targets_of", "usual_urls"]

USUAL_PORTS: Final = {
    8080: "llama-server, llama-swap, mlx_lm.server",
    8000: "vLLM, llama_cpp.server",
    1234: "LM Studio",
    11434: "Ollama",
    30000: "SGLang",
    9292: "llama-swap in its container",
    5001: "KoboldCpp",
    5000: "text-generation-webui, TabbyAPI",
    1337: "Jan",
}
"""Where these programs listen unless they are told otherwise, as their documentation says."""

HOSTS: Final = ("127.0.0.1", "[::1]")
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
DEADLINE_S: Final = 1.2
CONNECT_S: Final = 0.5
MOST_BYTES: Final = 1 << 20
MOST_TARGETS: Final = 3
TAKES_A_KEY: Final = ("anthropic", "llama-swap", "lmstudio", "openai", "sglang", "vllm")
"""Adapters with the option `key_env`; behind a key, the servers of others are driven as `openai`."""
NEED_NO_MODEL: Final = ("llama-server", "mlx-server")

State = Literal["serving", "loading", "needs a key", "silent", "not recognised", "nothing there"]


class FoundServer(msgspec.Struct, frozen=True):
    """What listens at an address. `sign` is the answer that it was recognised by, `targets` what to type for dyno.

    `engine` is dyno's adapter for it. `silent`: it accepts connections and did not answer everything in time. `pids`
    are its processes, where they are on this machine and we may know them; else its memory cannot be measured.
    """

    url: str
    state: State
    program: str | None = None
    engine: str | None = None
    sign: str | None = None
    version: str | None = None
    models: tuple[ServedModel, ...] = ()
    slots: int | None = None
    targets: tuple[str, ...] = ()
    pids: tuple[int, ...] = ()


def usual_urls(ports: Iterable[int] = USUAL_PORTS) -> tuple[str, ...]:
    """The usual ports at both loopback addresses."""
    return tuple(f"http://{host}:{port}" for port in ports for host in HOSTS)


def check_url(url: str) -> str:
    """An address as a user types it, with `http://` put before it if need be, and without a path.

    Raises:
        TargetError: it is no address of a server.
    """
    whole = url if "://" in url else f"http://{url}"
    hint = "write http://host:port"
    try:
        place = urlsplit(whole)
        port = place.port
        httpx.URL(whole)
    except (ValueError, httpx.InvalidURL) as error:
        raise TargetError(f"{url} is no address ({error})", hint=hint) from error
    if place.scheme not in ("http", "https") or not place.hostname:
        raise TargetError(f"{url} is no address of a server", hint=hint)
    host = f"[{place.hostname}]" if ":" in place.hostname else place.hostname
    return f"{place.scheme}://{host}" + (f":{port}" if port is not None else "")


def find_servers(
    urls: Iterable[str],
    *,
    asked: Iterable[str] = (),
    deadline_s: float = DEADLINE_S,
    pids_of: Callable[[str], tuple[int, ...]] = listeners,
) -> tuple[FoundServer, ...]:
    """What listens at `urls`, in their order, and at `asked`, which are listed even where nobody is there.

    A server that listens at several of this machine's addresses is listed once, by the first.
    """
    wanted = tuple(dict.fromkeys(asked))
    places = tuple(dict.fromkeys((*wanted, *urls)))
    answers = asyncio.run(_ask_all(places, deadline_s))
    found: list[FoundServer] = []
    for url, said in zip(places, answers, strict=True):
        if said is None and url not in wanted:
            continue
        server = _server(url, said, pids_of)
        if url in wanted or not any(_same(server, other) for other in found):
            found.append(server)
    return tuple(found)


def _server(url: str, said: dict[str, Answer] | None, pids_of: Callable[[str], tuple[int, ...]]) -> FoundServer:
    if said is None:
        return FoundServer(url, "nothing there")
    pids = pids_of(url)
    if not said:
        return FoundServer(url, "silent", pids=pids)
    it = recognise(said)
    if it.program is None:
        return FoundServer(url, "not recognised" if len(said) == len(PATHS) else "silent", pids=pids)
    state: State = "needs a key" if it.needs_key else "loading" if it.loading else "serving"
    return FoundServer(
        url, state, it.program, it.engine, it.sign, it.version, it.models, it.slots, targets_of(url, it), pids
    )


def targets_of(url: str, it: Recognised) -> tuple[str, ...]:
    """The bare address where that is enough, else one target for each of the first models, or of the loaded ones."""
    engine = it.engine
    if it.needs_key and engine not in TAKES_A_KEY:
        engine = "openai"
    key = "?key_env=NAME" if it.needs_key else ""
    models = [model for model in it.models if model.loaded] or list(it.models)
    if it.engine in NEED_NO_MODEL or (len(it.models) == 1 and engine != "lmstudio"):
        return (f"{engine}:{url}{key}",)
    return tuple(f"{engine}:{url}#{m.name}{key}" for m in models[:MOST_TARGETS]) or (f"{engine}:{url}#MODEL{key}",)


def _same(server: FoundServer, other: FoundServer) -> bool:
    """Whether they are one server under two names of this machine: by its processes, else by all that it says."""
    here, there = urlsplit(server.url), urlsplit(other.url)
    if here.port != there.port or here.hostname not in LOOPBACK or there.hostname not in LOOPBACK:
        return False
    if server.pids or other.pids:
        return server.pids == other.pids
    said = (server.program, server.version, server.models, server.slots)
    return server.program is not None and said == (other.program, other.version, other.models, other.slots)


async def _ask_all(urls: tuple[str, ...], deadline_s: float) -> list[dict[str, Answer] | None]:
    return await asyncio.gather(*(_ask(url, deadline_s) for url in urls))


async def _ask(url: str, deadline_s: float) -> dict[str, Answer] | None:
    """The answers of an address, path by path, as many as came in time; `None` where nobody listens."""
    if not await _listens(url):
        return None
    said: dict[str, Answer] = {}
    # A proxy of the environment would take requests to this machine's own addresses elsewhere.
    here = urlsplit(url).hostname in LOOPBACK
    limits = httpx.Limits(max_connections=4, max_keepalive_connections=0)
    try:
        async with (
            asyncio.timeout(deadline_s),
            httpx.AsyncClient(base_url=url, timeout=deadline_s, limits=limits, trust_env=not here) as client,
        ):

            async def ask(path: str) -> None:
                # A server may break off one path and answer the others, as mlx_lm.server does.
                with suppress(httpx.TransportError, httpx.DecodingError):
                    said[path] = await _get(client, path)

            await asyncio.gather(*(ask(path) for path in PATHS))
    except TimeoutError:
        pass
    return said


async def _listens(url: str) -> bool:
    place = urlsplit(url)
    port = place.port or (443 if place.scheme == "https" else 80)
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(place.hostname, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True


async def _get(client: httpx.AsyncClient, path: str) -> Answer:
    async with client.stream("GET", path, headers={"Accept-Encoding": "identity"}) as response:
        body = b""
        async for piece in response.aiter_bytes():
            body += piece
            if len(body) > MOST_BYTES:
                break
        return Answer(response.status_code, body, response.headers.get("server", ""))
