"""The wire: reply bytes to events and `Evidence`. Pure and shared by every HTTP adapter and the recording proxy.

Absent is not zero: a field that a server does not send stays `None`, and each figure names the field it came from.
"""

from __future__ import annotations

from backends.wire.cache_log import LOG_LINES_KEPT, cache_log
from backends.wire.chat import ChatChunk, decode_chunk
from backends.wire.chunk import Chunk
from backends.wire.errors import http_error, stream_error
from backends.wire.evidence import evidence_of
from backends.wire.responses import ResponseChunk, decode_response
from backends.wire.sse import SseDecoder

__all__ = [
    "LOG_LINES_KEPT",
    "ChatChunk",
    "Chunk",
    "ResponseChunk",
    "SseDecoder",
    "cache_log",
    "decode_chunk",
    "decode_response",
    "evidence_of",
    "http_error",
    "stream_error",
]
