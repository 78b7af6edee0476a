"""A filter of system calls, as the kernel takes it (classic BPF): what no task needs, and what would go round the rest.

Denied are other machines' call tables, `io_uring` (which does calls that no filter sees), kernel keys, BPF, performance
counters, and, where there is no network namespace, every new socket. `socketpair` stays: it leads nowhere.
"""

from __future__ import annotations

import platform
import struct
from typing import Final

__all__ = ["filter_program"]

_ARCHITECTURE: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_DENIED: Final = {
    # io_uring_setup, keyctl, add_key, request_key, bpf, perf_event_open, userfaultfd
    "x86_64": (425, 250, 248, 249, 321, 298, 323),
    "aarch64": (425, 219, 217, 218, 280, 241, 282),
}
_SOCKET: Final = {"x86_64": 41, "aarch64": 198}

_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
_EACCES, _ENOSYS = 13, 38
_X32: Final = 0x40000000


def filter_program(*, sockets: bool, machine: str | None = None) -> bytes:
    """The program; empty for a machine whose call numbers are not known here.

    Args:
        sockets: whether new sockets may be made.
        machine: as `uname -m` names it; this one by default.
    """
    machine = machine or platform.machine()
    if machine not in _ARCHITECTURE:
        return b""
    denied = [*_DENIED[machine], *([] if sockets else [_SOCKET[machine]])]
    refuse, unknown = len(denied) + 1, len(denied) + 2
    program = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 1, 0, _ARCHITECTURE[machine]),
        (_RETURN, 0, 0, _ERROR | _ENOSYS),
        (_LOAD, 0, 0, 0),
        (_AT_LEAST, unknown, 0, _X32),
    ]
    for position, number in enumerate(denied):
        program.append((_EQUAL, refuse - position - 1, 0, number))
    program += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _ERROR | _EACCES), (_RETURN, 0, 0, _ERROR | _ENOSYS)]
    return b"".join(struct.pack("HBBI", *instruction) for instruction in program)
