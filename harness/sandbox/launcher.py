"""Runs in the child: confines itself step by step, then becomes the command. Started with `-I -S`, standard library
only.

It decides nothing: the back end wrote every step into a plan (`harness.sandbox.plan`), which comes over a socket. Over
the same socket go the fault that kept the command from starting, or its exit code; when the other end closes, because
dyno wants it or died, everything that the command started is killed. On Linux; elsewhere only the steps that need no
Linux.
"""

from __future__ import annotations

import marshal
import os
import select
import struct
import sys

from harness.sandbox.confine import (
    LINUX,
    build_root,
    collect_orphans,
    die_with_parent,
    drop_privileges,
    enter_namespaces,
    filter_calls,
    limit,
    raise_loopback,
    restrict_files,
    threads_of_machine,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal

    from harness.sandbox.confine import Plan
else:
    import _signal as signal

__all__ = ["main"]


WATCH_MS, DYING_MS = 50, 5
MOST_COLLECTED = 64
"""Dead processes that are collected before dyno is listened to again: a fork bomb can make them faster than they go."""


def send(control: int, message: Plan) -> None:
    """Tell dyno, in one piece after its length; it may be gone."""
    data = marshal.dumps(message)
    try:
        os.write(control, struct.pack("I", len(data)) + data)
    except OSError:
        pass


def become_command(plan: Plan, control: int) -> None:
    """The last steps, then the command. Never returns; what keeps it from starting is told, and ends the process."""
    try:
        os.setsid()
        die_with_parent()
        os.chdir(plan["cwd"])
        limit(plan)
        if plan["confined"]:
            drop_privileges()
        if plan["rules"]:
            restrict_files(plan)
        if plan["filter"]:
            filter_calls(plan["filter"])
    except (OSError, AttributeError) as error:
        send(control, {"fault": str(error.strerror if isinstance(error, OSError) and error.strerror else error)})
        os._exit(125)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    argv = plan["argv"]
    try:
        os.execvpe(argv[0], argv, plan["env"])
    except OSError as error:
        os.write(2, os.fsencode(f"{argv[0]}: {os.strerror(error.errno or 0)}\n"))
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)


def start(plan: Plan, control: int) -> int:
    """Start the command as a child of this process; its process id."""
    child = os.fork()
    if child == 0:
        become_command(plan, control)
    return child


def be_init(plan: Plan, control: int) -> None:
    """The first process of the namespace: it starts the command, collects what ends, and takes all with it."""
    try:
        signal.set_wakeup_fd(-1)
        die_with_parent()
        os.setsid()
        if plan["loopback"]:
            raise_loopback()
        build_root(plan)
        command = start(plan, control)
    except OSError as error:
        send(control, {"fault": str(error.strerror or error)})
        os._exit(125)
    while True:
        ended, status = os.wait()
        if ended == command:
            send(control, {"exit_code": os.waitstatus_to_exitcode(status)})
            os._exit(0)


def descendants() -> list[int]:
    """Living processes that this one started and that those started, from /proc; empty where there is none."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc") if LINUX else ():
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    state, parent = file.read().rpartition(b")")[2].split()[:2]
            except (OSError, ValueError):
                continue
            if state != b"Z":
                parents[int(name)] = int(parent)
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found - {os.getpid()})


def signal_all(pids: list[int], which: int) -> None:
    """Send a signal to each that is still there."""
    for pid in pids:
        try:
            os.kill(pid, which)
        except OSError:
            continue


def collect() -> dict[int, int]:
    """Collect dead children, no more than are listened for at once; process id to status."""
    ended: dict[int, int] = {}
    while len(ended) < MOST_COLLECTED:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if pid == 0:
            break
        ended[pid] = status
    return ended


def signal_group(command: int, which: int) -> None:
    """Send a signal to the command and to all that stayed in its group, at once: none can start another meanwhile."""
    try:
        os.killpg(command, which)
    except OSError:
        pass


def end_all(command: int) -> None:
    """Kill the command and what it left behind, also what made itself a daemon, and collect it."""
    signal_group(command, signal.SIGKILL)
    while True:
        while len(collect()) == MOST_COLLECTED:
            pass
        found = descendants()
        if not found:
            return
        signal_all(found, signal.SIGSTOP)
        signal_all(descendants(), signal.SIGKILL)
        select.poll().poll(DYING_MS)


def makes_too_many(command: int, usual: int, processes: int) -> bool:
    """Whether the command made more processes than it may: looked at only if the machine has as many more."""
    if threads_of_machine() - usual <= processes:
        return False
    signal_group(command, signal.SIGSTOP)
    if len(descendants()) > processes:
        return True
    signal_group(command, signal.SIGCONT)
    return False


def attend_init(child: int, control: int, awake: int) -> None:
    """Wait until the first process of a namespace has ended, or dyno closes the socket.

    The kernel empties the namespace when that process ends, which tells dyno itself how the command ended.
    """
    poll = listening(control, awake)
    while control not in dict(poll.poll()):
        os.read(awake, 4096)
        if child in collect():
            return
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def attend_command(child: int, control: int, awake: int, processes: int) -> None:
    """Wait until the command ends, makes too many processes, or dyno closes the socket; then nothing is left of it.

    A fork bomb takes the processor from dyno and from this process, so this one looks often, cheaply, and with a higher
    priority where it may have one.
    """
    usual, more = threads_of_machine(), False
    if os.geteuid() == 0:
        os.setpriority(os.PRIO_PROCESS, 0, -20)
    poll = listening(control, awake)
    while control not in (ready := dict(poll.poll(0 if more else WATCH_MS))):
        if awake in ready:
            os.read(awake, 4096)
        ended = collect()
        more = len(ended) == MOST_COLLECTED
        if child in ended:
            end_all(child)
            send(control, {"exit_code": os.waitstatus_to_exitcode(ended[child])})
            return
        if makes_too_many(child, usual, processes):
            send(control, {"stopped_by": "processes"})
            break
    end_all(child)


def listening(control: int, awake: int) -> select.poll:
    """What is listened to: dyno, and the end of processes."""
    poll = select.poll()
    for handle in (control, awake):
        poll.register(handle, select.POLLIN | select.POLLHUP)
    return poll


def receive(control: int) -> Plan:
    """The plan: its length in four bytes, then itself."""
    (length,) = struct.unpack("I", os.read(control, 4))
    data = b""
    while len(data) < length:
        data += os.read(control, length - len(data))
    plan: Plan = marshal.loads(data)
    return plan


def main() -> None:
    """Confine, start and attend one command; the handle of the socket is the one argument."""
    control = int(sys.argv[1])
    os.set_inheritable(control, False)
    plan = receive(control)
    awake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    alone = plan["namespaces"]
    try:
        if alone:
            enter_namespaces(plan)
            die_with_parent()
            child = os.fork()
            if child == 0:
                be_init(plan, control)
        else:
            collect_orphans()
            child = start(plan, control)
    except OSError as error:
        send(control, {"fault": str(error.strerror or error)})
        sys.exit(125)
    send(control, {"started": child})
    if alone:
        attend_init(child, control, awake)
    else:
        attend_command(child, control, awake, plan["processes"])
