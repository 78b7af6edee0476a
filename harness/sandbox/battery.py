"""The break-in battery: what a sandbox holds, by trying. Each attempt is really made, in a child, on things of our own.

What the intruder says is checked against what became of the scene, which decides. The capabilities of a sandbox are
read off the attempts: one is held if every attempt on it failed.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Final, Literal, cast

import msgspec

from harness.sandbox.base import Capabilities, Completed, Network, Policy, Sandbox, SandboxError
from harness.sandbox.scene import Outside, outside

__all__ = ["ATTEMPTS", "Attempt", "Capability", "capabilities_of", "run_battery"]

Capability = Literal[
    "writes_confined",
    "modes_confined",
    "reads_confined",
    "network_closed",
    "loopback",
    "loopback_isolated",
    "processes_hidden",
    "processes_bounded",
    "files_bounded",
    "memory_bounded",
    "nothing_left",
]

ATTEMPTS: Final[dict[str, tuple[Capability, str]]] = {
    "write_new": ("writes_confined", "write a new file outside"),
    "write_existing": ("writes_confined", "write to a file outside"),
    "truncate": ("writes_confined", "truncate a file outside"),
    "write_through_link": ("writes_confined", "write outside through a link"),
    "hard_link": ("writes_confined", "write to a file outside by a second name"),
    "remove": ("writes_confined", "remove a file outside"),
    "move_out": ("writes_confined", "move a file out of the workspace"),
    "write_granted": ("writes_confined", "write to a file that may be read"),
    "replace_granted": ("writes_confined", "put another in the place of a file that may be read"),
    "open_device": ("writes_confined", "open a disk to write"),
    "make_device": ("writes_confined", "make a device file of a disk"),
    "kernel_setting": ("writes_confined", "change a setting of the kernel"),
    "mount": ("writes_confined", "mount a file system"),
    "remount": ("writes_confined", "take a write protection off in a new namespace"),
    "change_mode": ("modes_confined", "change the mode of a file outside"),
    "change_granted_mode": ("modes_confined", "change the mode of a file that may be read"),
    "change_times": ("modes_confined", "change the times of a file outside"),
    "read_canary": ("reads_confined", "read a file outside"),
    "read_through_link": ("reads_confined", "read a file outside through a link"),
    "read_through_processes": ("reads_confined", "read a file outside as another process sees it"),
    "list_folder": ("reads_confined", "list a folder outside"),
    "read_dyno": ("reads_confined", "read dyno's own source"),
    "read_secrets": ("reads_confined", "read the machine's secrets"),
    "read_environment": ("reads_confined", "read another process's environment"),
    "inherited_handles": ("reads_confined", "use a handle that dyno left open"),
    "tcp": ("network_closed", "connect to a TCP server of this machine"),
    "tcp6": ("network_closed", "connect to one by IPv6"),
    "udp": ("network_closed", "send a UDP packet"),
    "route": ("network_closed", "find a way out of this machine"),
    "unix_socket": ("network_closed", "connect to a server at a path"),
    "abstract_socket": ("network_closed", "connect to a server at an abstract name"),
    "see_sibling": ("processes_hidden", "see a process outside"),
    "trace_sibling": ("processes_hidden", "trace a process outside"),
    "kill_sibling": ("processes_hidden", "kill a process outside"),
    "fork_bomb": ("processes_bounded", "start more processes than allowed"),
    "large_file": ("files_bounded", "write a file larger than allowed"),
    "fill_disk": ("files_bounded", "fill the disk with many files"),
    "take_memory": ("memory_bounded", "take more memory than allowed, where the policy bounds it"),
    "stay": ("nothing_left", "outlive its time, and leave a daemon behind"),
    "loopback": ("loopback", "reach a server inside, which a task may need"),
    "loopback_tcp": ("loopback_isolated", "reach a server outside when a loopback is allowed"),
}
"""Attempts in their order: what they test, and what is tried."""

_IN_ONE_COMMAND: Final = tuple(
    name
    for name, (capability, _) in ATTEMPTS.items()
    if capability in {"writes_confined", "modes_confined", "reads_confined", "network_closed", "processes_hidden"}
)
INTRUDER: Final = Path(__file__).with_name("intruder")
FILE_BYTES: Final = 2 * 2**20
WORKSPACE_BYTES: Final = 8 * 2**20
FILES: Final = 24
PROCESSES: Final = 32
MEMORY_BYTES: Final = 256 * 2**20
STAY_S: Final = 0.4


class Attempt(msgspec.Struct, frozen=True):
    """One attempt to break out. `held` is `None` where there was nothing that it could be made on."""

    name: str
    capability: Capability
    tried: str
    held: bool | None
    happened: str


def run_battery(sandbox: Sandbox) -> tuple[Attempt, ...]:
    """Attack a sandbox in every way that is known here, on things of our own. Takes a second or two.

    Raises:
        SandboxError: commands cannot be run in it.
    """
    with outside() as scene:
        found = _steps(sandbox, scene)
        found |= _alone(sandbox, scene, "fork_bomb", stopped_by="processes")
        found |= _alone(sandbox, scene, "large_file")
        found |= _alone(sandbox, scene, "fill_disk", stopped_by="disk")
        found |= _alone(sandbox, scene, "take_memory", memory_bytes=MEMORY_BYTES)
        found |= _stay(sandbox, scene)
        found |= _loopback(sandbox, scene)
    return tuple(
        Attempt(name, capability, tried, *found.get(name, (None, "was not made")))
        for name, (capability, tried) in ATTEMPTS.items()
    )


def capabilities_of(name: str, attempts: tuple[Attempt, ...]) -> Capabilities:
    """What a sandbox holds: where every attempt that could be made was held. `loopback` is what works, not what is
    held.
    """

    def holds(capability: Capability) -> bool:
        made = [attempt.held for attempt in attempts if attempt.capability == capability and attempt.held is not None]
        return bool(made) and all(made)

    return Capabilities(
        backend=name,
        writes_confined=holds("writes_confined"),
        modes_confined=holds("modes_confined"),
        reads_confined=holds("reads_confined"),
        network_closed=holds("network_closed"),
        processes_hidden=holds("processes_hidden"),
        processes_bounded=holds("processes_bounded"),
        files_bounded=holds("files_bounded"),
        loopback=holds("loopback"),
        loopback_isolated=holds("loopback_isolated"),
        memory_bounded=holds("memory_bounded"),
        nothing_left=holds("nothing_left"),
    )


_Found = dict[str, tuple[bool | None, str]]


def _steps(sandbox: Sandbox, scene: Outside) -> _Found:
    """The attempts that end at once, in one command; what they did to the scene counts, whatever they say."""
    scene.restore()
    completed = _send(sandbox, scene, _IN_ONE_COMMAND, scene.described())
    found = _answers(completed)
    if not found:
        raise SandboxError(
            f"Python does not run in {sandbox.name}: {completed.output.decode('utf-8', 'replace').strip()[-300:]}"
        )
    damage = scene.damage()
    if found["udp"][0] is False and "udp" not in damage:
        found["udp"] = (True, "sent, and did not come")
    return found | {name: (False, done) for name, done in damage.items()}


def _alone(
    sandbox: Sandbox, scene: Outside, name: str, *, stopped_by: str | None = None, memory_bytes: int | None = None
) -> _Found:
    """An attempt on a limit; dyno's own watch may end it."""
    scene.restore()
    told = scene.described(file_bytes=FILE_BYTES, files=FILES, memory_bytes=MEMORY_BYTES)
    completed = _send(sandbox, scene, (name,), told, memory_bytes=memory_bytes)
    if stopped_by is not None and completed.stopped_by == stopped_by:
        return {name: (True, "ended by dyno's watch")}
    return _answers(completed) or {name: (completed.exit_code < 0, f"exit code {completed.exit_code}")}


def _stay(sandbox: Sandbox, scene: Outside) -> _Found:
    scene.restore()
    completed = _send(sandbox, scene, ("stay",), scene.described(), wall_s=STAY_S)
    left = scene.left_behind()
    if left:
        return {"stay": (False, f"{len(left)} processes were left")}
    if not completed.timed_out:
        return {"stay": (None, f"could not be made: exit code {completed.exit_code}")}
    return {"stay": (True, "ended with everything that it had started")}


def _loopback(sandbox: Sandbox, scene: Outside) -> _Found:
    """A loopback of one's own: whether it works, and whether it leads to this machine's servers."""
    scene.restore()
    try:
        completed = _send(sandbox, scene, ("loopback", "tcp"), scene.described(), network="loopback")
    except SandboxError as error:
        return {"loopback": (False, str(error)), "loopback_tcp": (None, "there is no loopback")}
    answers = _answers(completed)
    works, happened = answers.get("loopback", (None, "was not made"))
    return {
        "loopback": (works is False, happened),
        "loopback_tcp": answers.get("tcp", (None, "was not made")),
    }


def _send(
    sandbox: Sandbox,
    scene: Outside,
    attempts: tuple[str, ...],
    told: dict[str, Any],
    *,
    network: Network = "none",
    wall_s: float = 10.0,
    memory_bytes: int | None = None,
) -> Completed:
    inside = scene.workspace / "harness" / "sandbox" / "intruder"
    shutil.copytree(INTRUDER, inside, ignore=shutil.ignore_patterns("__pycache__"))
    policy = Policy(
        workspace=scene.workspace,
        network=network,
        wall_s=wall_s,
        cpu_s=10,
        file_bytes=FILE_BYTES,
        workspace_bytes=WORKSPACE_BYTES,
        processes=PROCESSES,
        memory_bytes=memory_bytes,
    )
    argv = ("python3", "-S", "-m", "harness.sandbox.intruder", ",".join(attempts))
    return sandbox.run(argv, policy, stdin=json.dumps(told).encode())


def _answers(completed: Completed) -> _Found:
    found: _Found = {}
    for line in completed.output.splitlines():
        if line.startswith(b'{"attempt"'):
            answer = cast("dict[str, Any]", json.loads(line))
            found[answer["attempt"]] = (answer["held"], answer["happened"])
    return found
