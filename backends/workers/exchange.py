"""Memory that a worker and its parent share, so that large arrays are not copied through a pipe.

It has no name in any folder: the worker inherits its descriptor, and it is gone when both are, however they end. On
Linux it is memory (memfd); elsewhere an unlinked temporary file, which was not verified. It is only bytes: who writes
where, and when, is the business of the two sides.
"""

from __future__ import annotations

import mmap
import os
import sys
import tempfile


class Exchange:
    """One side of the shared memory; it grows on demand."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._mapped: mmap.mmap | None = None

    @classmethod
    def created(cls) -> Exchange:
        """New shared memory without a byte in it."""
        if sys.platform == "linux":
            return cls(os.memfd_create("dyno-logits"))
        with tempfile.TemporaryFile() as file:
            return cls(os.dup(file.fileno()))

    def mapped(self, size_bytes: int) -> mmap.mmap:
        """All of it, at least `size_bytes` long. A map that was given out earlier stays valid. Raises `OSError`."""
        if self._mapped is None or len(self._mapped) < size_bytes:
            if os.fstat(self.descriptor).st_size < size_bytes:
                os.ftruncate(self.descriptor, size_bytes)
            # An earlier map may still be looked at: it goes when the last view of it goes.
            self._mapped = mmap.mmap(self.descriptor, size_bytes)
        return self._mapped

    def close(self) -> None:
        """Let go of it; views that were given out stay valid. May be called twice."""
        self._mapped = None
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
