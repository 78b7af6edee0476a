"""What one payload of a reply says, in whichever form a server writes it."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

import msgspec

from backends.base import Delta, EngineFault

T = TypeVar("T")


class Chunk(Protocol):
    """One payload of a streamed reply, or a whole reply. What it does not say is `None`."""

    usage: dict[str, Any] | None
    timings: dict[str, Any] | None
    error: Any

    def deltas(self) -> list[Delta]:
        """The text in it: reasoning first, as engines send it."""
        ...

    def finish_reason(self) -> str | None:
        """The stop reason, if it has one."""
        ...


def decoded(decoder: msgspec.json.Decoder[T], payload: bytes) -> T:
    """What a payload holds.

    Raises:
        EngineFault: it is not of the decoder's form; shows its beginning.
    """
    try:
        return decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        shown = payload[:80].decode("utf-8", "replace")
        raise EngineFault(f"the reply cannot be parsed ({error}): {shown!r}") from error
