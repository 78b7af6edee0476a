"""A prompt as the engine saw it, and its form in `prompts.zst`. Knows nothing of files beyond these bytes.

The tokens of a run are kept because causes are found when a run is read, not while it is measured: a better rule then
explains old runs too. Prompts grow by appending, so a compressor with a long window makes them nearly free.
"""

from __future__ import annotations

from array import array
from typing import Self

import msgspec

__all__ = ["Rendered"]


class Rendered(msgspec.Struct, frozen=True):
    """Text and token ids (`array('i')`) of a prompt, and the ids generated after it, `None` where they are not known.

    The last generated id was sampled and never evaluated, so it is in no cache.
    """

    text: str
    token_ids: array[int]
    generated_ids: array[int] | None = None

    @property
    def sequence(self) -> array[int]:
        """Everything that the engine has held of it: prompt and generated ids."""
        return self.token_ids + self.generated_ids if self.generated_ids else self.token_ids

    def encoded(self) -> bytes:
        """The value as bytes; half a surrogate pair in the text becomes `?`."""
        generated = self.generated_ids.tobytes() if self.generated_ids is not None else None
        return _ENCODER.encode(_Stored(self.text.encode("utf-8", "replace"), self.token_ids.tobytes(), generated))

    @classmethod
    def decoded(cls, data: bytes) -> Self:
        """The value of `encoded` bytes.

        Raises:
            msgspec.DecodeError, ValueError: these are no such bytes.
        """
        stored = _DECODER.decode(data)
        generated = _ids(stored.generated_ids) if stored.generated_ids is not None else None
        return cls(stored.text.decode("utf-8"), _ids(stored.token_ids), generated)


class _Stored(msgspec.Struct, array_like=True):
    text: bytes
    token_ids: bytes
    generated_ids: bytes | None


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Stored)


def _ids(data: bytes) -> array[int]:
    ids: array[int] = array("i")
    ids.frombytes(data)
    return ids
