"""Which sandbox is used here: the first that held every attack on it, else the one that held most. By trying, not by
names.

A program that is installed may be forbidden to do its work (AppArmor, a container, a sandbox around dyno itself), so
what counts is the battery's result, once for each process.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from functools import cache
from typing import Literal

import msgspec

from harness.sandbox.base import Capabilities, Sandbox, SandboxError
from harness.sandbox.battery import Attempt, capabilities_of, run_battery
from harness.sandbox.bwrap import Bubblewrap
from harness.sandbox.landlock import HINT, Landlock, landlock_version
from harness.sandbox.seatbelt import SANDBOX_EXEC, Seatbelt
from harness.sandbox.unconfined import Unconfined

__all__ = ["Survey", "Trial", "back_ends", "best_of", "choose", "survey", "tried"]

SCHEMA = 1

UNCONFINED = Capabilities(
    backend="none",
    writes_confined=False,
    reads_confined=False,
    network_closed=False,
    processes_hidden=False,
    processes_bounded=False,
    files_bounded=False,
    loopback=True,
)
"""Nothing is claimed, so nothing is tried."""


class Trial(msgspec.Struct, frozen=True):
    """What the battery found out about a back end; `fault` says why it could not be tried."""

    backend: str
    attempts: tuple[Attempt, ...] = ()
    capabilities: Capabilities | None = None
    fault: str | None = None

    @property
    def usable(self) -> bool:
        """Whether commands run in it and cannot write outside: the least that a sandbox must hold."""
        return self.capabilities is not None and self.capabilities.writes_confined

    @property
    def let_through(self) -> tuple[Attempt, ...]:
        """The attempts that were not held; a loopback that is not offered lets nothing through."""
        return tuple(attempt for attempt in self.attempts if attempt.held is False and attempt.capability != "loopback")


class Survey(msgspec.Struct, frozen=True):
    """What `dyno doctor --sandbox` found: a trial for each back end, and the one that is used, `None` if none works."""

    user: Literal["root", "ordinary"]
    chosen: str | None
    trials: tuple[Trial, ...]
    schema: int = SCHEMA

    @property
    def leaks(self) -> tuple[Attempt, ...]:
        """What the chosen back end let through."""
        return next((trial.let_through for trial in self.trials if trial.backend == self.chosen), ())


def back_ends() -> tuple[Sandbox, ...]:
    """The back ends that could work on this system, in the order in which they are tried; never the unconfined one."""
    found: list[Sandbox] = []
    if program := shutil.which("bwrap"):
        found.append(Bubblewrap(program))
    if sys.platform == "linux":
        versions = [Landlock(landlock=False)] if not landlock_version() else [Landlock(), Landlock(namespaces=False)]
        found += versions
    if SANDBOX_EXEC.exists():
        found.append(Seatbelt())
    return tuple(found)


def tried(sandbox: Sandbox) -> Trial:
    """Attack a back end; a fault in starting it is part of the answer."""
    try:
        attempts = run_battery(sandbox)
    except SandboxError as error:
        return Trial(sandbox.name, fault=str(error))
    return Trial(sandbox.name, attempts, capabilities_of(sandbox.name, attempts))


def best_of(trials: Iterable[Trial]) -> Trial | None:
    """The usable one that let least through, of several such the first; `None` if none is usable."""
    return min((trial for trial in trials if trial.usable), key=lambda trial: len(trial.let_through), default=None)


def survey() -> Survey:
    """Attack every back end that there is here. Takes a second or two for each."""
    trials = tuple(tried(sandbox) for sandbox in back_ends())
    best = best_of(trials)
    return Survey(
        user="root" if os.geteuid() == 0 else "ordinary", chosen=best.backend if best else None, trials=trials
    )


@cache
def choose(*, allow_none: bool = False) -> tuple[Sandbox, Capabilities]:
    """The sandbox for this process and what it was measured to hold. The first call takes a second or two.

    Args:
        allow_none: use no confinement if no back end works; the user's explicit wish.

    Raises:
        SandboxError: no back end works; its hint names what to do.
    """
    trials: dict[str, tuple[Sandbox, Trial]] = {}
    for sandbox in back_ends():
        trial = tried(sandbox)
        trials[sandbox.name] = sandbox, trial
        if trial.usable and not trial.let_through:
            break
    best = best_of(trial for _, trial in trials.values())
    if best is not None and best.capabilities is not None:
        return trials[best.backend][0], best.capabilities
    if allow_none:
        return Unconfined(), UNCONFINED
    faults = [f"{name}: {trial.fault or 'it can be written outside'}" for name, (_, trial) in trials.items()]
    raise SandboxError(f"no sandbox works here ({'; '.join(faults) or 'none is known for this system'})", HINT)
