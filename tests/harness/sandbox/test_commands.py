"""Commands in each back end: their output, their end, their limits, and that nothing of them is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import psutil
import pytest

from harness.sandbox.base import Completed, Policy, Sandbox, SandboxError
from harness.sandbox.execution import execute
from harness.sandbox.landlock import Landlock
from harness.sandbox.plan import unconfined_plan
from tests.harness.sandbox.back_ends import back_end

ROOT = Path(__file__).parents[3]
OURS = ("landlock+namespaces", "landlock", "none")
each = pytest.mark.parametrize("sandbox", [*OURS, "bwrap"], indirect=True)
confined = pytest.mark.parametrize("sandbox", ["landlock+namespaces", "landlock", "bwrap"], indirect=True)

TESTS = """
import multiprocessing

def double(number):
    return 2 * number

def test_files(tmp_path):
    (tmp_path / "file").write_text("text")

def test_processes():
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(double, [1, 2]) == [2, 4]
"""


def shell(sandbox: Sandbox, workspace: Path, script: str, stdin: bytes = b"", **limits: int | float) -> Completed:
    policy = msgspec.structs.replace(Policy(workspace=workspace, wall_s=20), **limits)
    return sandbox.run(("sh", "-c", script), policy, stdin=stdin)


def alive(token: str) -> list[int]:
    return [process.pid for process in psutil.process_iter(["cmdline"]) if token in (process.info["cmdline"] or ())]


@each
def test_output_order_exit_code_and_input(sandbox: Sandbox, workspace: Path) -> None:
    done = shell(sandbox, workspace, "echo out; echo err >&2; cat; pwd; exit 7", stdin=b"given " * 40_000)
    assert done.output == b"out\nerr\n" + b"given " * 40_000 + f"{workspace.resolve()}\n".encode()
    assert (done.exit_code, done.timed_out, done.stopped_by) == (7, False, None)
    assert done.duration_ns > 0


@each
def test_a_command_that_does_not_read_its_input(sandbox: Sandbox, workspace: Path) -> None:
    assert shell(sandbox, workspace, "exit 0", stdin=bytes(1 << 20)).exit_code == 0


@each
def test_a_signal_is_a_negative_exit_code(sandbox: Sandbox, workspace: Path) -> None:
    assert shell(sandbox, workspace, "kill -SEGV $$").exit_code == -signal.SIGSEGV


@each
def test_a_command_that_is_not_there(sandbox: Sandbox, workspace: Path) -> None:
    done = sandbox.run(("no-such-command",), Policy(workspace=workspace))
    assert done.exit_code in (127, 1)
    assert b"no-such-command" in done.output


@each
def test_more_output_than_is_kept_is_counted(sandbox: Sandbox, workspace: Path) -> None:
    done = shell(sandbox, workspace, "head -c 300000 /dev/zero; printf end", output_bytes=1000)
    assert (done.output, done.output_bytes) == (bytes(1000), 300_003)


@each
def test_the_environment_holds_nothing_of_ours(
    sandbox: Sandbox, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    done = sandbox.run(("env",), Policy(workspace=workspace, env={"MORE": "1"}))
    names = {line.partition(b"=")[0].decode() for line in done.output.splitlines()}
    assert {"PATH", "HOME", "TMPDIR", "MORE"} <= names
    assert b"secret" not in done.output


@each
def test_the_time_limit_ends_everything(sandbox: Sandbox, workspace: Path) -> None:
    token = f"token-{os.getpid()}-{sandbox.name}"
    left = f"{sys.executable} -c 'import time; time.sleep(60)' {token}"
    started = time.monotonic()
    done = shell(
        sandbox,
        workspace,
        f"echo early; (setsid python3 -c 'import time; time.sleep(60)' {token} &) ; sleep 60",
        wall_s=0.4,
    )
    assert (done.timed_out, done.stopped_by, done.exit_code, done.output) == (True, "wall", -9, b"early\n")
    assert time.monotonic() - started < 5
    assert alive(token) == [], left


@each
def test_a_background_process_ends_with_its_command(sandbox: Sandbox, workspace: Path) -> None:
    token = f"background-{os.getpid()}-{sandbox.name}"
    done = shell(
        sandbox, workspace, f"(setsid python3 -c 'import time; time.sleep(60)' {token} >/dev/null 2>&1 &) ; echo done"
    )
    assert done.output == b"done\n"
    assert done.duration_ns < 10e9
    assert alive(token) == []


@each
def test_a_large_workspace_is_ended(sandbox: Sandbox, workspace: Path) -> None:
    write = "for i in 1 2 3 4 5 6 7 8; do head -c 1000000 /dev/zero > hidden/$i; done"
    script = f"mkdir hidden; {write}; chmod 300 hidden; sleep 20"
    done = shell(sandbox, workspace, script, workspace_bytes=3_000_000)
    assert done.stopped_by == "disk"


@confined
def test_pytest_runs_inside(sandbox: Sandbox, workspace: Path) -> None:
    """With temporary files; with processes where the semaphores that they need have a place of their own."""
    (workspace / "test_inside.py").write_text(TESTS)
    whole = sandbox.name != "landlock"
    command = "pytest -q test_inside.py" if whole else "python -m pytest -q test_inside.py::test_files"
    passed = b"2 passed" if whole else b"1 passed"
    done = sandbox.run(tuple(command.split()), Policy(workspace=workspace))
    assert passed in done.output, done.output.decode()
    assert done.exit_code == 0


@confined
def test_neither_dyno_nor_its_packages_can_be_imported(sandbox: Sandbox, workspace: Path) -> None:
    script = (
        "from importlib.util import find_spec; print([n for n in ('harness', 'msgspec', 'pytest') if find_spec(n)])"
    )
    assert sandbox.run(("python3", "-c", script), Policy(workspace=workspace)).output == b"['pytest']\n"


@confined
@pytest.mark.skipif(len(ROOT.parts) < 3, reason="the checkout lies at the root")
def test_dyno_stays_hidden_in_a_folder_that_may_be_read(sandbox: Sandbox, workspace: Path) -> None:
    policy = Policy(workspace=workspace, readable=(ROOT.parent,))
    assert sandbox.run(("ls", str(ROOT.parent)), policy).exit_code == 0
    for path in (ROOT / "harness" / "tasks" / "base.py", ROOT / "pyproject.toml"):
        assert sandbox.run(("cat", str(path)), policy).exit_code != 0


@confined
def test_what_a_policy_grants(sandbox: Sandbox, workspace: Path, tmp_path: Path) -> None:
    readable, writable, other = tmp_path / "readable", tmp_path / "writable", tmp_path / "other"
    for folder in (readable, writable, other):
        folder.mkdir()
        (folder / "file").write_text("text\n")
    policy = Policy(workspace=workspace, readable=(readable,), writable=(writable,))
    script = f"cat {readable}/file; echo more > {writable}/file; echo more > {readable}/file; cat {other}/file"
    done = sandbox.run(("sh", "-c", script), policy)
    assert done.output.startswith(b"text\n")
    assert done.exit_code == 1
    assert [(folder / "file").read_text() for folder in (readable, writable)] == ["text\n", "more\n"]


@pytest.mark.parametrize("sandbox", ["landlock+namespaces", "namespaces", "bwrap"], indirect=True)
def test_a_command_is_an_ordinary_user_with_a_place_for_temporary_files(sandbox: Sandbox, workspace: Path) -> None:
    assert shell(sandbox, workspace, "id -un; hostname; cd /tmp; echo kept > kept").output == b"agent\ndyno\n"
    assert shell(sandbox, workspace, "cat .tmp/kept; cd /tmp; cat kept").output == b"kept\nkept\n"


@confined
def test_a_link_in_place_of_the_temporary_folder_leads_nowhere(
    sandbox: Sandbox, workspace: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for planted in ("rm -r .tmp", f"rm -rf .tmp/{tmp_path.parts[2]}"):
        name = planted.split()[-1]
        shell(sandbox, workspace, f"{planted}; ln -s {outside} {name}")
        shell(sandbox, workspace, "echo escaped > $TMPDIR/file; cd /tmp; echo escaped > file")
        assert list(outside.iterdir()) == []


@confined
def test_a_workspace_that_was_closed_is_opened_again(sandbox: Sandbox, workspace: Path) -> None:
    assert shell(sandbox, workspace, "echo text > file; chmod 000 .home .tmp .").exit_code == 0
    assert shell(sandbox, workspace, "cat file").output == b"text\n"


@pytest.mark.parametrize("sandbox", ["landlock+namespaces", "landlock"], indirect=True)
def test_a_fork_bomb_is_ended(sandbox: Sandbox, workspace: Path) -> None:
    """By the kernel's bound, at which this one dies, or by the watch; it would end by itself after 2**13 processes."""
    bomb = "bomb() { [ $1 -gt 12 ] && exit; bomb $(($1 + 1)) | bomb $(($1 + 1)) & }; bomb 0; sleep 1"
    done = shell(sandbox, workspace, bomb, processes=32)
    assert done.stopped_by in ("processes", None)
    assert done.duration_ns < 5e9


@pytest.mark.parametrize("sandbox", ["landlock+namespaces"], indirect=True)
def test_the_kernel_bounds_processes_too(sandbox: Sandbox, workspace: Path) -> None:
    """For root by the namespace's own largest process number (Linux 6.14), for others by RLIMIT_NPROC."""
    release = tuple(int(part) for part in os.uname().release.split(".")[:2])
    if os.geteuid() == 0 and release < (6, 14):
        pytest.skip("this kernel has no process numbers of a namespace's own")
    assert isinstance(sandbox, Landlock)
    script = "import os, signal\nfor n in range(500):\n    os.fork() or signal.pause()\n"
    policy = Policy(workspace=workspace, processes=16, wall_s=20)
    plan = sandbox.plan(("python3", "-S", "-c", script), policy)
    done = execute(plan, msgspec.structs.replace(policy, processes=10_000))
    assert done.exit_code == 1
    assert b"Resource temporarily unavailable" in done.output


@pytest.mark.parametrize("sandbox", OURS, indirect=True)
def test_nothing_is_left_when_dyno_is_killed(sandbox: Sandbox, tmp_path: Path) -> None:
    token = f"orphan-{os.getpid()}-{sandbox.name}"
    (tmp_path / "workspace").mkdir()
    sleep = f"python3 -c 'import time; time.sleep(60)' {token}"
    program = (
        "from pathlib import Path\n"
        "from harness.sandbox.base import Policy\n"
        "from tests.harness.sandbox.back_ends import BACK_ENDS\n"
        f"command = ('sh', '-c', {f'(setsid {sleep} &); {sleep}'!r})\n"
        f"BACK_ENDS[{sandbox.name!r}].run(command, Policy(workspace=Path('workspace')))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    with subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, env=environment) as dyno:
        wait_for(lambda: len(alive(token)) == 2)
        dyno.kill()
    wait_for(lambda: not alive(token))


def wait_for(condition: object, seconds: float = 10.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_a_step_that_fails_is_an_error_with_a_hint(workspace: Path) -> None:
    sandbox = back_end("namespaces")
    assert isinstance(sandbox, Landlock)
    policy = Policy(workspace=workspace)
    plan = msgspec.structs.replace(sandbox.plan(("true",), policy), root="/no/such/folder")
    with pytest.raises(SandboxError, match="mounting /no/such/folder: No such file") as raised:
        execute(plan, policy, hint="do something")
    assert raised.value.hint == "do something"


def test_a_loopback_without_a_namespace_is_refused(workspace: Path) -> None:
    sandbox = back_end("landlock")
    with pytest.raises(SandboxError, match="network namespace") as raised:
        sandbox.run(("true",), Policy(workspace=workspace, network="loopback"))
    assert "apparmor_restrict_unprivileged_userns" in (raised.value.hint or "")
    assert "bubblewrap" in (raised.value.hint or "")


def test_a_command_may_kill_its_launcher_where_nothing_confines_it(workspace: Path) -> None:
    policy = Policy(workspace=workspace)
    done = execute(unconfined_plan(("sh", "-c", "kill -9 $PPID; exit 0"), policy), policy)
    assert done.exit_code == -9
