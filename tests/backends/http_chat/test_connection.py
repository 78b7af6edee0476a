"""The connection: httpx's errors by our names, keys kept out of messages, streams cut anywhere."""

from __future__ import annotations

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base import EngineDied, EngineFault, RequestRejected, Unreachable
from backends.http_chat.connection import Connection, lines, payloads
from tests.backends.recorded_http import Playing, serving


class Refusing(Playing):
    """Answers every request with one status, and with the key that it was sent."""

    def __init__(self, status: int) -> None:
        super().__init__({})
        self.status = status

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        key = self.asked[-1][1].get("Authorization", "")
        return self.status, msgspec.json.encode({"error": {"message": f"no: {key}"}})


def test_nobody_there_is_unreachable() -> None:
    connection = Connection("http://127.0.0.1:9", "test", 5.0)
    with pytest.raises(Unreachable, match="nothing answers"):
        connection.json("GET", "/v1/models")
    connection.close()


class Gone:
    """Stands for a process of ours that has ended."""

    def alive(self) -> bool:
        return False

    def last_words(self) -> str:
        return "out of memory"

    def pids(self) -> tuple[int, ...]:
        return (7,)

    def load_log(self) -> str:
        return ""

    def close(self) -> None:
        return None


def test_a_server_of_ours_that_ended_leaves_its_last_words() -> None:
    connection = Connection("http://127.0.0.1:9", "test", 5.0, process=Gone())
    with pytest.raises(EngineDied, match="out of memory"):
        connection.json("GET", "/")
    assert connection.pids() == (7,)
    connection.close()


def test_a_key_is_sent_and_never_repeated() -> None:
    with serving(Refusing(401)) as server:
        connection = Connection(server.url, "test", 5.0, headers={"Authorization": "Bearer s3cret"}, key="s3cret")
        with pytest.raises(RequestRejected) as caught:
            connection.json("POST", "/v1/chat/completions", {})
        connection.close()
        assert server.asked[0][1]["Authorization"] == "Bearer s3cret"
    assert "s3cret" not in str(caught.value)
    assert "Bearer ..." in str(caught.value)
    assert "key_env" in str(caught.value.hint)


def test_what_a_server_does_not_offer_is_none_but_its_absence_is_an_error() -> None:
    with serving(Playing({"/there": b'{"a": 1}', "/text": b"words"})) as server:
        connection = Connection(server.url, "test", 5.0)
        assert connection.offers("GET", "/there") == {"a": 1}
        assert connection.offers("GET", "/elsewhere") is None
        assert connection.offers("GET", "/text") is None
        assert connection.text("/text") == "words"
        with pytest.raises(EngineFault, match="no JSON object"):
            connection.json("GET", "/text")
    with pytest.raises(Unreachable):
        connection.offers("GET", "/there")
    connection.close()


@given(st.lists(st.dictionaries(st.text(max_size=3), st.integers()), max_size=5), st.data())
def test_a_stream_gives_its_payloads_however_it_is_cut(objects: list[dict[str, int]], data: st.DataObject) -> None:
    encoded = [msgspec.json.encode(value) for value in objects]
    for whole, read in (
        (b"".join(b"data: " + value + b"\n\n" for value in encoded) + b"data: [DONE]\n\n", payloads),
        (b"\n".join(encoded), lines),
    ):
        cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=4)))
        pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
        assert list(read(httpx.Response(200, content=iter(pieces)), streamed=True)) == encoded
