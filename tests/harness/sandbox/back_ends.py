"""Which back ends can work on this machine, found out without them: a broken one must fail its tests, not skip them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache

import pytest

from harness.sandbox.base import Sandbox
from harness.sandbox.bwrap import Bubblewrap
from harness.sandbox.landlock import Landlock, landlock_version
from harness.sandbox.unconfined import Unconfined

BACK_ENDS: dict[str, Sandbox] = {
    "landlock+namespaces": Landlock(),
    "namespaces": Landlock(landlock=False),
    "landlock": Landlock(namespaces=False),
    "bwrap": Bubblewrap(shutil.which("bwrap") or "bwrap"),
    "none": Unconfined(),
}
_UNSHARE = "import ctypes, sys; sys.exit(ctypes.CDLL(None).unshare(0x10020000) != 0)"


@cache
def namespaces_work() -> bool:
    """Whether a process here may have user and mount namespaces of its own."""
    return sys.platform == "linux" and subprocess.run([sys.executable, "-c", _UNSHARE], check=False).returncode == 0


def back_end(name: str) -> Sandbox:
    """The back end of this name; the test is skipped where it cannot work."""
    if name != "none" and sys.platform != "linux":
        pytest.skip("Linux only")
    if "landlock" in name and not landlock_version():
        pytest.skip("this kernel has no Landlock")
    if name == "bwrap" and not shutil.which("bwrap"):
        pytest.skip("bubblewrap is not installed")
    if ("namespaces" in name or name == "bwrap") and not namespaces_work():
        pytest.skip("user namespaces are forbidden here")
    return BACK_ENDS[name]
