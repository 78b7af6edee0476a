"""What a worker and its parent say to each other: messages, and frames on a pipe (length, MessagePack).

Nothing here starts a process or knows an engine. Token ids travel as little-endian int32 bytes.
"""

from __future__ import annotations

import os
import struct
import sys
from array import array
from collections.abc import Iterable

import msgspec

from backends.base import CacheKind, Evidence, Forced, JsonObject, Request
from backends.workers.planning_messages import AskTypeSizes, Plan, Planned, TypeSizes
from backends.workers.scoring_messages import Evaluate, ScorerReady, Tokenize, Tokens

MAX_FRAME_BYTES = 2**30
_LENGTH = struct.Struct("<I")
_READ_BYTES = 1 << 16


class Load(msgspec.Struct, frozen=True, tag=True):
    """The first order: load a model with these settings; answered by `Ready` or `Failed`.

    `template` is the chat template's text, already chosen. `settings` are the adapter's own, in builtin
    types.
    """

    model: str
    template: str
    settings: JsonObject


class Render(msgspec.Struct, frozen=True, tag=True):
    """Ask for `Rendered`: the prompt of a request."""

    request: Request


class AskForced(msgspec.Struct, frozen=True, tag=True):
    """Ask for `ForcedReply`: the output that stands for the assistant message `reply`."""

    request: Request
    reply: JsonObject


class Generate(msgspec.Struct, frozen=True, tag=True):
    """Serve a request: `Began`, `Piece`s, then `Ended` or `Failed`. `serial` marks them; it only grows."""

    serial: int
    request: Request


class Abort(msgspec.Struct, frozen=True, tag=True):
    """End the generation with this serial, or an earlier one, at the next token or batch."""

    serial: int


class Reset(msgspec.Struct, frozen=True, tag=True):
    """Forget every cached token; answered by `Done`."""


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The model is loaded: what only the engine knows of it."""

    build: str
    context_tokens: int
    cache_kind: CacheKind
    settings: dict[str, str] = {}


class Rendered(msgspec.Struct, frozen=True, tag=True):
    """A prompt: its text and token ids (`pack_ids`)."""

    text: str
    token_ids: bytes


class ForcedReply(msgspec.Struct, frozen=True, tag=True):
    """The output that can be forced, or `None`."""

    forced: Forced | None


class Began(msgspec.Struct, frozen=True, tag=True):
    """A request was accepted. `in_reasoning`: its prompt ends inside an opened reasoning block."""

    serial: int
    at_ns: int
    in_reasoning: bool


class Piece(msgspec.Struct, frozen=True, tag=True):
    """One generated token; `text` may end inside a UTF-8 character and is empty for an end token."""

    serial: int
    token_id: int
    text: bytes
    at_ns: int


class Ended(msgspec.Struct, frozen=True, tag=True):
    """A request was served; `reason` is `stop`, `length` or `abort`."""

    serial: int
    reason: str
    at_ns: int
    evidence: Evidence


class Done(msgspec.Struct, frozen=True, tag=True):
    """An order without an answer of its own was carried out."""


class Failed(msgspec.Struct, frozen=True, tag=True):
    """An order failed. `kind` names an error class of `backends.base`; `serial` is a generation's."""

    kind: str
    message: str
    hint: str | None = None
    prompt_tokens: int | None = None
    context_tokens: int | None = None
    serial: int | None = None


Order = Load | Render | AskForced | Generate | Abort | Reset | Plan | AskTypeSizes | Tokenize | Evaluate
Answer = (
    Ready | Rendered | ForcedReply | Began | Piece | Ended | Done | Failed | Planned | TypeSizes | ScorerReady | Tokens
)

order_decoder: msgspec.msgpack.Decoder[Order] = msgspec.msgpack.Decoder(Order)
answer_decoder: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)
_encoder = msgspec.msgpack.Encoder()


class PeerGone(Exception):
    """The other side is gone, or sent what is no frame."""


class FrameReader:
    """Frames out of a file descriptor. It keeps its own buffer, so that an interrupted read loses nothing."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._buffer = bytearray()

    def frame(self) -> bytes:
        """The next frame, waiting for it.

        Raises:
            PeerGone: the other side closed the pipe, or sent an impossible length.
        """
        self._fill(_LENGTH.size)
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length > MAX_FRAME_BYTES:
            raise PeerGone(f"a frame of {length} bytes")
        self._fill(_LENGTH.size + length)
        frame = bytes(self._buffer[_LENGTH.size : _LENGTH.size + length])
        del self._buffer[: _LENGTH.size + length]
        return frame

    def _fill(self, count: int) -> None:
        while len(self._buffer) < count:
            try:
                read = os.read(self._descriptor, _READ_BYTES)
            except OSError as error:
                raise PeerGone(str(error)) from error
            if not read:
                raise PeerGone("closed")
            self._buffer += read


def write_frame(descriptor: int, message: Order | Answer) -> None:
    """Write one message as a frame.

    Raises:
        PeerGone: the other side is gone.
    """
    body = _encoder.encode(message)
    left = memoryview(_LENGTH.pack(len(body)) + body)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except OSError as error:
            raise PeerGone(str(error)) from error


def pack_ids(token_ids: Iterable[int]) -> bytes:
    """Token ids as little-endian int32."""
    ids = array("i", token_ids)
    if sys.byteorder == "big":
        ids.byteswap()
    return ids.tobytes()


def unpack_ids(packed: bytes) -> array[int]:
    """The ids that `pack_ids` packed, as `array('i')`."""
    ids = array("i")
    ids.frombytes(packed)
    if sys.byteorder == "big":
        ids.byteswap()
    return ids
