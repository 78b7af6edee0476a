"""The steps by which a child confines itself: namespaces, a root of its own, Landlock, capabilities, calls, limits.

Standard library only, and as little of it as can be: this is loaded at every start of a command. A step that fails
raises OSError, whose `strerror` names the step. Nothing is decided here; `harness.sandbox.launcher` says in which
order.
"""

from __future__ import annotations

import ctypes
import os
import resource
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing`, and the enumerations that `signal` makes, would take half of the time of a start
    import signal
    from typing import Any

    Plan = dict[str, Any]
else:
    import _signal as signal

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE, MS_NOSUID, MS_NODEV = 0x1000, 0x4000, 0x40000, 2, 4
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV = 1, 2, 4
AT_FDCWD, AT_RECURSIVE, MNT_DETACH = -100, 0x8000, 2
SYS_MOUNT_SETATTR, SYS_LANDLOCK_CREATE, SYS_LANDLOCK_ADD, SYS_LANDLOCK_RESTRICT = 442, 444, 445, 446
SYS_PIVOT_ROOT = {"x86_64": 155}.get(os.uname().machine, 41)
SYS_CAPSET = {"x86_64": 126}.get(os.uname().machine, 91)
PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_CAPBSET_DROP = 1, 22, 24
PR_SET_SECUREBITS, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 28, 36, 38
SIOCSIFFLAGS, IFF_UP_RUNNING, AF_INET, SOCK_DGRAM = 0x8914, 0x41, 2, 2
LAST_CAPABILITY, LOCKED_NOROOT = 63, 0b11
LANDLOCK_CAPABILITY_VERSION = 3
FILE_ACCESS = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15
"""Landlock rights that a rule on a file may give: run, write, read, truncate, control a device."""

LAUNCHERS = 2
"""Processes of the launcher in a namespace, which the kernel counts too."""

SPARE = 4
LINUX = sys.platform == "linux"
libc = ctypes.CDLL(None, use_errno=True)


def call(step: str, function: str, *arguments: Any) -> int:
    """Call the C library; a failure becomes an error that names the step."""
    result = int(getattr(libc, function)(*arguments))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{step}: {os.strerror(number)}")
    return result


def die_with_parent(which: int = signal.SIGKILL) -> None:
    """Have the kernel kill this process when the one that started it is gone."""
    if LINUX:
        call("parent's death", "prctl", PR_SET_PDEATHSIG, which, 0, 0, 0)


def collect_orphans() -> None:
    """Have the orphans among this process's descendants become its children."""
    if LINUX:
        call("collecting processes", "prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def enter_namespaces(plan: Plan) -> None:
    """Leave the machine's processes, mounts, network and users behind; the user inside is an ordinary one."""
    uid, gid = os.geteuid(), os.getegid()
    flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS
    call("namespaces", "unshare", flags | (CLONE_NEWNET if plan["own_network"] else 0))
    for file, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{plan['inner_id']} {uid} 1"),
        ("gid_map", f"{plan['inner_id']} {gid} 1"),
    ):
        with open(f"/proc/self/{file}", "w") as out:
            out.write(text)
    call("host name", "sethostname", b"dyno", 4)


def raise_loopback() -> None:
    """Bring the network namespace's own `lo` up."""
    handle = call("loopback", "socket", AF_INET, SOCK_DGRAM, 0)
    call("loopback", "ioctl", handle, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP_RUNNING))
    os.close(handle)


def set_mount(target: str, attributes: int, flags: int = AT_RECURSIVE) -> None:
    """Add attributes to a mount."""
    wanted = struct.pack("QQQQ", attributes, 0, 0, 0)
    call(f"protecting {target}", "syscall", SYS_MOUNT_SETATTR, AT_FDCWD, os.fsencode(target), flags, wanted, 32)


def mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    """Mount, with an error that names the place."""
    kind_bytes = kind.encode() if kind else None
    call(f"mounting {target}", "mount", os.fsencode(source), os.fsencode(target), kind_bytes, flags, data.encode())


def make_place(target: str, folder: bool) -> None:
    """An empty folder or file to mount on."""
    if folder:
        os.makedirs(target, exist_ok=True)
    elif not os.path.lexists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))


def build_root(plan: Plan) -> None:
    """A file system that holds only what the plan lists, and become its user. What is not listed is not there."""
    root = plan["root"]
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=4m")
    sealed = [root]
    for kind, source, place, data in plan["mounts"]:
        target = root + place
        if kind == "link":
            os.symlink(source, target)
            continue
        make_place(target, kind in ("tmpfs", "proc") or os.path.isdir(source))
        if kind == "tmpfs" or kind == "mask":
            mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV, data)
            sealed += [target] if kind == "mask" else []
        elif kind == "proc":
            mount_proc(target, plan["processes"])
        else:
            mount(source, target, None, MS_BIND | MS_REC)
            if kind != "device":
                set_mount(target, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (MOUNT_ATTR_RDONLY if kind == "read" else 0))
    for target in reversed(sealed):
        set_mount(target, MOUNT_ATTR_RDONLY, flags=0)
    os.chdir(root)
    call("changing the root", "syscall", SYS_PIVOT_ROOT, b".", b".")
    call("leaving the old root", "umount2", b".", MNT_DETACH)
    os.chdir("/")


def mount_proc(target: str, processes: int) -> None:
    """The namespace's own processes, read-only; where the kernel refuses (a container's masked one), the old view.

    Since Linux 6.14 the largest process number is the namespace's own: a bound that holds for root too, whom
    RLIMIT_NPROC does not bind. Numbers below 300 are not given again, so the bound is between the wanted one and 300
    more.
    """
    try:
        mount("proc", target, "proc", MS_NOSUID | MS_NODEV)
        with open(f"{target}/sys/kernel/pid_max", "w") as out:
            out.write(str(300 + processes))
    except PermissionError:
        if not os.path.exists(f"{target}/self"):
            mount("/proc", target, None, MS_BIND | MS_REC)
    except OSError:
        pass  # an older kernel: the largest number is the machine's, and the watch over the command counts alone
    try:
        with open(f"{target}/sys/user/max_user_namespaces", "w") as out:
            out.write("0")
    except OSError:
        pass
    set_mount(target, MOUNT_ATTR_RDONLY)


def restrict_files(plan: Plan) -> None:
    """Landlock: deny every right that the plan names, but for its rules. What a rule names and is not there is left
    out.
    """
    handled = struct.pack("QQQ", plan["handled_files"], plan["handled_network"], plan["scoped"])
    size = plan["ruleset_bytes"]
    ruleset = call("Landlock", "syscall", SYS_LANDLOCK_CREATE, handled[:size], size, 0)
    for path, access in plan["rules"]:
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        allowed = access if os.path.isdir(path) else access & FILE_ACCESS
        call(
            f"Landlock rule for {path}", "syscall", SYS_LANDLOCK_ADD, ruleset, 1, struct.pack("=Qi", allowed, place), 0
        )
        os.close(place)
    call("Landlock", "syscall", SYS_LANDLOCK_RESTRICT, ruleset, 0)
    os.close(ruleset)


def drop_privileges() -> None:
    """Give up every capability, and the ways to get one back."""
    libc.prctl(PR_SET_SECUREBITS, LOCKED_NOROOT, 0, 0, 0)
    for capability in range(LAST_CAPABILITY):
        if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0:
            break
    header, none = struct.pack("Ii", 0x20080522, 0), bytes(24)
    call("capabilities", "syscall", SYS_CAPSET, header, none)
    call("new privileges", "prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def filter_calls(program: bytes) -> None:
    """Have the kernel refuse the system calls that the program (classic BPF) names."""
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    call("filter of system calls", "prctl", PR_SET_SECCOMP, 2, header, 0, 0)


def threads_of_machine() -> int:
    """How many threads there are, of all users; 0 where that cannot be read at once."""
    try:
        with open("/proc/loadavg", "rb") as file:
            return int(file.read().split()[3].partition(b"/")[2])
    except OSError:
        return 0


def most_processes(plan: Plan) -> int:
    """The limit for the number of processes, which the kernel counts for each user of a namespace; root is not bound.

    Without a namespace the user's other processes count too, so the limit is beyond all that there are: it ends a fork
    bomb, and nothing sooner.
    """
    wanted: int = plan["processes"]
    if plan["namespaces"]:
        return wanted + LAUNCHERS
    others = threads_of_machine()
    return others + SPARE * wanted if others else resource.RLIM_INFINITY


def limit(plan: Plan) -> None:
    """Resource limits; one that the user may not have is taken as high as it may be."""
    for name, value in [*plan["limits"], ("RLIMIT_NPROC", most_processes(plan))]:
        which = getattr(resource, name, None)
        if which is None:
            continue
        _, hard = resource.getrlimit(which)
        most = (
            hard if value == resource.RLIM_INFINITY else value if hard == resource.RLIM_INFINITY else min(value, hard)
        )
        try:
            resource.setrlimit(which, (most, most))
        except (OSError, ValueError):
            if LINUX:
                raise
