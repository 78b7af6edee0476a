"""Server-sent events, cut out of bytes as they arrive. Knows nothing of what the payloads say."""

from __future__ import annotations

import re

_LINE_END = re.compile(rb"\r\n|\n|\r")


class SseDecoder:
    """Server-sent events, incrementally: feed bytes, take the `data` payloads that are complete.

    Comments (keep-alives) and other fields are dropped; several `data` lines of one event are joined by a newline.
    """

    __slots__ = ("_buffer", "_data")

    def __init__(self) -> None:
        self._buffer = b""
        self._data: list[bytes] = []

    def feed(self, data: bytes) -> list[bytes]:
        """Add bytes as they arrived; returns the payloads completed by them, in order."""
        buffer = self._buffer + data
        # A lone CR at the end may be half of CRLF: wait for the next byte.
        held = b"\r" if buffer.endswith(b"\r") else b""
        *lines, rest = _LINE_END.split(buffer[: len(buffer) - len(held)])
        self._buffer = rest + held
        payloads: list[bytes] = []
        for line in lines:
            if not line:
                if self._data:
                    payloads.append(b"\n".join(self._data))
                    self._data = []
            elif line.startswith(b"data:"):
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
        return payloads

    def end(self) -> list[bytes]:
        """The stream ended: what was complete but for its blank line."""
        payloads = self.feed(b"\n\n")
        self._buffer = b""
        return payloads
