"""The break-in battery, against every back end that works here, as this user and as an ordinary one."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

import msgspec
import pytest

from harness.sandbox.battery import ATTEMPTS, Attempt, capabilities_of, run_battery
from harness.sandbox.choice import Survey
from harness.sandbox.intruder import files, limits, network, processes, reading
from tests.harness.sandbox.back_ends import back_end, namespaces_work

ROOT = Path(__file__).parents[3]
BASE = Path(sys.base_prefix).resolve()

LANDLOCK_ALONE = {"change_mode", "change_granted_mode", "change_times", "see_sibling", "loopback"}
"""What Landlock alone does not hold: modes of files outside and the view of processes; and it offers no loopback."""

CONFINING = {"writes_confined", "modes_confined", "reads_confined", "network_closed", "processes_hidden"}
FOR_ROOT_ALONE = {"open_device", "make_device", "kernel_setting", "mount", "remount", "read_secrets"}
"""What an ordinary user cannot do anyway."""


def through(attempts: tuple[Attempt, ...]) -> set[str]:
    return {attempt.name for attempt in attempts if attempt.held is False}


def check(survey: Survey) -> None:
    """Everything is held by what is used; Landlock alone lets through what its documentation says."""
    assert survey.chosen is not None
    assert survey.leaks == ()
    for trial in survey.trials:
        expected = LANDLOCK_ALONE if trial.backend == "landlock" else set[str]()
        assert trial.fault is None
        assert through(trial.attempts) == expected, trial.backend
        if trial.backend == survey.chosen:
            assert trial.capabilities is not None
            assert all(msgspec.structs.asdict(trial.capabilities).values())


def test_every_attempt_is_made_by_the_intruder_and_listed() -> None:
    made = {
        name
        for module in (files, limits, network, processes, reading)
        for name, each in vars(module).items()
        if getattr(each, "__module__", None) == module.__name__
    }
    assert made == ATTEMPTS.keys() - {"loopback_tcp"}


@pytest.mark.skipif(not namespaces_work(), reason="user namespaces are forbidden here")
def test_it_holds_for_this_user(surveyed: Survey) -> None:
    check(surveyed)


def test_namespaces_alone_hold() -> None:
    assert through(run_battery(back_end("namespaces"))) == set()


def test_the_attempts_get_through_where_nothing_confines() -> None:
    """Else the battery would prove nothing."""
    sandbox = back_end("none")
    attempts = run_battery(sandbox)
    expected = {name for name, (capability, _) in ATTEMPTS.items() if capability in CONFINING} - {"inherited_handles"}
    if os.geteuid() != 0:
        expected -= FOR_ROOT_ALONE
    not_made = {attempt.name for attempt in attempts if attempt.held is None}
    assert through(attempts) - FOR_ROOT_ALONE == (expected | {"loopback_tcp"}) - FOR_ROOT_ALONE - not_made
    capabilities = capabilities_of(sandbox.name, attempts)
    assert not capabilities.writes_confined
    assert not capabilities.reads_confined
    assert not capabilities.network_closed
    assert capabilities.loopback


@pytest.fixture
def public() -> Generator[Path]:
    """A folder that everybody can read and write; the one of pytest belongs to its user."""
    folder = Path(tempfile.mkdtemp(prefix="dyno-public-"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def opened(places: tuple[Path, ...], stash: Path) -> list[str]:
    """Shell commands that make these places reachable for everybody, in a mount namespace of their own.

    A folder on the way that is closed to others is covered, and holds only the place then.
    """
    closed = {
        place: folder
        for place in places
        for folder in [next((up for up in reversed(place.parents) if not up.stat().st_mode & stat.S_IXOTH), None)]
        if folder is not None
    }
    lines: list[str] = []
    for number, place in enumerate(closed):
        (stash / str(number)).mkdir()
        lines.append(f"mount --bind {place} {stash / str(number)}")
    lines += [f"mount -t tmpfs -o mode=755 none {folder}" for folder in dict.fromkeys(closed.values())]
    for number, place in enumerate(closed):
        lines += [f"mkdir -p {place}", f"mount --bind {stash / str(number)} {place}"]
    return lines


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.skipif(not namespaces_work(), reason="user namespaces are forbidden here")
@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv and unshare of util-linux")
def test_it_holds_for_an_ordinary_user(public: Path) -> None:
    python = f"{sys.executable} -m harness.cli doctor --sandbox --json"
    user = "setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all"
    lines = [*opened((BASE, Path(sys.prefix), ROOT), public), f"cd {public}", f"exec {user} {python}"]
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-e", "-c", "\n".join(lines)],
        env={"PYTHONPATH": str(ROOT), "TMPDIR": str(public), "PATH": os.environ["PATH"]},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-500:]
    survey = msgspec.json.decode(done.stdout, type=Survey)
    assert survey.user == "ordinary"
    check(survey)
