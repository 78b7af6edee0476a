"""The endpoint in front of a server: bytes unchanged both ways, one record for each request, whoever breaks off."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import httpx
import pytest

from profiler.proxy.endpoint import Endpoint
from profiler.proxy.exchange import CLIENT_LEFT, Exchange
from tests.backends.recorded_http import Playing, serving

REPLY = b'data: {"choices":[]}\n\ndata: [DONE]\n\n'
BODY = b'{ "messages":[],  "stream": true }'


@contextmanager
def passing(upstream: str, **more: Any) -> Iterator[tuple[Endpoint, str]]:
    ticks = count(1)
    with Endpoint(upstream, clock=lambda: next(ticks), wall_clock=lambda: 77, **more) as endpoint:
        yield endpoint, endpoint.base_url("d1")


def ended(endpoint: Endpoint) -> Exchange:
    return endpoint.finished.get(timeout=5)


def test_bytes_pass_unchanged_and_are_kept_with_their_stamps() -> None:
    asked = "/v1/chat/completions?a=1%202"
    with serving(Playing({asked: REPLY})) as server, passing(server.url) as (endpoint, url):
        headers = {"Authorization": "Bearer k", "X-Own": "1", "Accept-Encoding": "gzip", "Connection": "close"}
        reply = httpx.post(f"{url}{asked}", content=BODY, headers=headers)
        exchange = ended(endpoint)
        path, sent, body = server.asked[-1]
    assert (reply.status_code, reply.content) == (200, REPLY)
    assert body == exchange.body == BODY
    assert (path, exchange.path) == (asked, "/v1/chat/completions")
    lower = {name.lower(): value for name, value in sent.items()}
    assert (lower["authorization"], lower["x-own"], lower["accept-encoding"]) == ("Bearer k", "1", "identity")
    assert (exchange.number, exchange.session, exchange.status, exchange.reply) == (1, "d1", 200, REPLY)
    stamps = [exchange.sent_ns, exchange.headers_ns, *(piece.at_ns for piece in exchange.pieces), exchange.ended_ns]
    assert stamps == list(range(1, len(stamps) + 1))
    assert (exchange.sent_unix_ns, exchange.error, exchange.overlaps) == (77, None, ())


def test_an_error_of_the_server_is_passed_on() -> None:
    with serving(Playing({})) as server, passing(server.url) as (endpoint, url):
        reply = httpx.get(f"{url}/v1/models")
        assert (reply.status_code, reply.json()["error"]["message"]) == (404, "not found")
        assert ended(endpoint).status == 404


def test_a_name_that_was_not_given_is_refused_and_not_passed_on() -> None:
    with serving(Playing({"/v1/models": b"{}"})) as server, passing(server.url) as (endpoint, url):
        reply = httpx.get(url.replace("/d1", "/other") + "/v1/models")
        assert reply.status_code == 404
        assert "no dispatch other" in reply.json()["error"]["message"]
        assert httpx.get(url.removesuffix("/d/d1") + "/v1/models").status_code == 404
        assert (endpoint.finished.empty(), server.asked) == (True, [])


def test_without_a_server_the_agent_is_told_so() -> None:
    with serving(Playing({})) as server:
        gone = server.url
    with passing(gone) as (endpoint, url):
        reply = httpx.post(f"{url}/v1/chat/completions", content=BODY)
        exchange = ended(endpoint)
    assert reply.status_code == 502
    assert exchange.error is not None
    assert (exchange.error.kind, exchange.status) == ("Unreachable", None)
    assert reply.json()["error"]["message"] == exchange.error.message


class Slow(Playing):
    """Answers when it is told to; says when it was asked."""

    def __init__(self) -> None:
        super().__init__({"/v1/chat/completions": REPLY, "/v1/models": b"{}"})
        self.asked_now, self.go_on = threading.Semaphore(0), threading.Event()

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        if method == "POST":
            self.asked_now.release()
            assert self.go_on.wait(10)
        return super().answer(method, path, body)


def test_an_agent_that_leaves_ends_its_request() -> None:
    slow = Slow()
    with serving(slow), passing(slow.url) as (endpoint, url):
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{url}/v1/chat/completions", content=BODY, timeout=0.2)
        exchange = ended(endpoint)
        assert exchange.error is not None
        assert (exchange.error.kind, exchange.pieces) == (CLIENT_LEFT, ())
        assert endpoint.in_flight == 0
        slow.go_on.set()


def test_requests_side_by_side_know_of_each_other() -> None:
    slow = Slow()
    sizes = iter((10, 25, 40))
    with serving(slow), passing(slow.url, log_size=lambda: next(sizes)) as (endpoint, url):
        threads = [threading.Thread(target=httpx.post, args=(f"{url}/v1/chat/completions",)) for _ in range(2)]
        for thread in threads:
            thread.start()
            assert slow.asked_now.acquire(timeout=5)
        assert endpoint.in_flight == 2
        slow.go_on.set()
        both = sorted((ended(endpoint), ended(endpoint)), key=lambda exchange: exchange.number)
        for thread in threads:
            thread.join()
        httpx.post(f"{url}/v1/chat/completions")
        alone = ended(endpoint)
    assert [exchange.overlaps for exchange in (*both, alone)] == [(2,), (1,), ()]
    assert [exchange.log_from for exchange in (*both, alone)] == [10, 25, 40]
    assert [endpoint.log_until(number) for number in (1, 2, 3)] == [25, 40, None]


def test_it_ends_while_a_request_is_open() -> None:
    slow = Slow()
    with serving(slow):
        with passing(slow.url) as (endpoint, url):
            thread = threading.Thread(target=_ignored, args=(f"{url}/v1/chat/completions",))
            thread.start()
            assert slow.asked_now.acquire(timeout=5)
        thread.join(5)
        assert not thread.is_alive()
        assert ended(endpoint).error is not None
        slow.go_on.set()


def _ignored(url: str) -> None:
    try:
        httpx.post(url)
    except httpx.HTTPError:
        return
