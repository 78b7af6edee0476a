"""Messages survive the pipe however it cuts them, and a pipe that ends or lies is noticed."""

from __future__ import annotations

import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base import Evidence, Forced, Request
from backends.workers.frames import (
    Ended,
    FrameReader,
    Generate,
    PeerGone,
    answer_decoder,
    order_decoder,
    pack_ids,
    unpack_ids,
    write_frame,
)


def through_a_pipe(data: bytes, step: int) -> list[bytes]:
    """The frames in `data`, which is written in pieces of `step` bytes."""
    reading, writing = os.pipe()

    def write() -> None:
        for start in range(0, len(data), step):
            os.write(writing, data[start : start + step])
        os.close(writing)

    writer = threading.Thread(target=write)
    writer.start()
    reader = FrameReader(reading)
    frames: list[bytes] = []
    try:
        while True:
            frames.append(reader.frame())
    except PeerGone:
        return frames
    finally:
        writer.join()
        os.close(reading)


def framed(*messages: Generate | Ended) -> bytes:
    reading, writing = os.pipe()
    for message in messages:
        write_frame(writing, message)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        return pipe.read()


ORDER = Generate(7, Request(messages=({"z": 1, "a": "é"},), forced=Forced("x", (1, 2), 3), parameters={"seed": 1}))
ANSWER = Ended(7, "stop", 2**60, Evidence(prompt_tokens=3, cached_tokens=0, log=("line",)))


@given(st.integers(1, 200))
def test_messages_come_out_as_they_went_in(step: int) -> None:
    first, second = through_a_pipe(framed(ORDER, ANSWER), step)
    order, answer = order_decoder.decode(first), answer_decoder.decode(second)
    assert order == ORDER
    assert answer == ANSWER
    assert isinstance(order, Generate)
    assert list(order.request.messages[0]) == ["z", "a"]


def test_a_torn_frame_is_no_frame() -> None:
    assert len(through_a_pipe(framed(ORDER, ORDER)[:-1], 64)) == 1
    assert through_a_pipe(b"\xff\xff\xff\xff" + b"x" * 100, 64) == []


def test_writing_to_nobody_is_noticed() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with pytest.raises(PeerGone):
        write_frame(writing, ORDER)
    os.close(writing)


@given(st.lists(st.integers(0, 2**31 - 1)))
def test_token_ids_are_packed_without_loss(ids: list[int]) -> None:
    assert unpack_ids(pack_ids(ids)).tolist() == ids
