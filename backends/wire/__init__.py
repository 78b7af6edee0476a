"""The wire: reply bytes to events and `Evidence`, and requests from one form to another.

Pure, and shared by every HTTP adapter and the recording proxy.

Absent is not zero: a field that a server does not send stays `None`, and each figure names the field it came from.
"""

from __future__ import annotations

from backends.wire.cache_log import LOG_LINES_KEPT, cache_log
from backends.wire.chat import ChatChunk, decode_chunk
from backends.wire.chat_requests import Chat, chat_of_message, chat_of_response
from backends.wire.chunk import Chunk
from backends.wire.errors import http_error, stream_error
from backends.wire.evidence import evidence_of
from backends.wire.messages import MessageChunk, decode_message, message_evidence
from backends.wire.responses import ResponseChunk, decode_response
from backends.wire.sse import SseDecoder

__all__ = [
    "LOG_LINES_KEPT",
    "Chat",
    "ChatChunk",
    "Chunk",
    "MessageChunk",
    "ResponseChunk",
    "SseDecoder",
    "cache_log",
    "chat_of_message",
    "chat_of_response",
    "decode_chunk",
    "decode_message",
    "decode_response",
    "evidence_of",
    "http_error",
    "message_evidence",
    "stream_error",
]
