"""What an attempt is: a function of the scene. One that returns got through and says how; an OSError held it."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

Scene = dict[str, Any]
"""What there is to break in for: `harness.sandbox.scene` says what it holds."""


class NotApplicableError(Exception):
    """There is nothing here that the attempt could be made on."""


def libc_call(function: str, *arguments: Any) -> None:
    """Call the C library; a failure is an OSError."""
    if sys.platform != "linux":
        raise NotApplicableError("Linux only")
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, function)(*arguments) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
