"""Attempts to write, to change and to mount outside of the workspace. Standard library only: this runs inside."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from harness.sandbox.intruder.attempt import NotApplicableError, Scene, libc_call

MS_BIND, MS_REMOUNT = 0x1000, 0x20
CLONE_NEWUSER, CLONE_NEWNS = 0x10000000, 0x20000


def write_new(scene: Scene) -> str:
    """A new file."""
    Path(scene["outside"], "new").write_text("intruder", encoding="utf-8")
    return "wrote it"


def write_existing(scene: Scene) -> str:
    """The content of a file."""
    with open(scene["canary"], "a", encoding="utf-8") as file:
        file.write("intruder")
    return "wrote it"


def truncate(scene: Scene) -> str:
    """The length of a file, by its path."""
    os.truncate(scene["canary"], 1)
    return "truncated it"


def write_through_link(scene: Scene) -> str:
    """A file, through a link in the workspace."""
    Path("link").symlink_to(scene["canary"])
    with open("link", "a", encoding="utf-8") as file:
        file.write("intruder")
    return "wrote through it"


def hard_link(scene: Scene) -> str:
    """A file by a second name in the workspace."""
    os.link(scene["canary"], "hard")
    with open("hard", "a", encoding="utf-8") as file:
        file.write("intruder")
    return "wrote to its second name"


def remove(scene: Scene) -> str:
    """A file that is removed."""
    os.unlink(scene["removable"])
    return "removed it"


def move_out(scene: Scene) -> str:
    """A file of the workspace that is moved out."""
    Path("inner").write_text("intruder", encoding="utf-8")
    os.rename("inner", str(Path(scene["outside"], "moved")))
    return "moved it"


def write_granted(scene: Scene) -> str:
    """A file that may be read: of the Python that later commands use."""
    os.close(os.open(scene["granted"], os.O_WRONLY | os.O_APPEND))
    return "opened it to write"


def replace_granted(scene: Scene) -> str:
    """A file that may be read, by another of its name."""
    Path("other").write_bytes(Path(scene["granted"]).read_bytes())
    os.rename("other", scene["granted"])
    return "replaced it"


def open_device(scene: Scene) -> str:
    """A disk."""
    if not scene["device"]:
        raise NotApplicableError("no block device")
    os.close(os.open(scene["device"], os.O_WRONLY))
    return f"opened {scene['device']}"


def make_device(scene: Scene) -> str:
    """A disk, by a device file of one's own."""
    if not scene["device"]:
        raise NotApplicableError("no block device")
    os.mknod("disk", 0o60600, scene["device_number"])
    os.close(os.open("disk", os.O_RDONLY))
    return "made one and opened it"


def kernel_setting(_scene: Scene) -> str:
    """A setting of the kernel."""
    if sys.platform != "linux":
        raise NotApplicableError("no /proc/sys")
    os.close(os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY))
    return "opened kernel.core_pattern"


def mount(_scene: Scene) -> str:
    """A file system of one's own."""
    Path("mounted").mkdir(exist_ok=True)
    libc_call("mount", b"tmpfs", b"mounted", b"tmpfs", 0, None)
    libc_call("umount", b"mounted")
    return "mounted one"


def remount(_scene: Scene) -> str:
    """The write protection of the root, with every right that a new user namespace gives."""
    child = os.fork()
    if child == 0:
        try:
            libc_call("unshare", CLONE_NEWUSER | CLONE_NEWNS)
            libc_call("mount", None, b"/", None, MS_REMOUNT | MS_BIND, None)
        except OSError as error:
            os._exit(error.errno or 1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    number = os.waitstatus_to_exitcode(status)
    if number:
        raise OSError(number, os.strerror(abs(number)))
    return "took it off"


def change_mode(scene: Scene) -> str:
    """The mode of a file."""
    os.chmod(scene["canary"], 0o606)
    return "changed it"


def change_granted_mode(scene: Scene) -> str:
    """The mode of a file that may be read; it is set to what it is."""
    os.chmod(scene["granted"], os.stat(scene["granted"]).st_mode & 0o7777)
    return "could change it"


def change_times(scene: Scene) -> str:
    """The times of a file."""
    os.utime(scene["canary"], (1, 1))
    return "changed them"
