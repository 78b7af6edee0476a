"""Verifies an agent's work: in a fresh copy, with protected files as they were, in the sandbox. Scores nothing itself.

The task's `tests/test.sh` runs in the copy and finds in its environment `TASK_DIR` (the fresh folder: `workspace`,
`original`, `hidden` and `tests`), `WORKSPACE`, `ORIGINAL` (the workspace as the agent got it), `HIDDEN`, `REWARD_DIR`,
and, where known, `LEDGER` (a file in which a toolset wrote down its calls) and `DYNO_SECONDS` (how long the dispatch
took). It writes `reward.json` into `REWARD_DIR`:

    {"score": 0.75, "parts": {"killed": 18, "mutants": 24}, "notes": ["gap-4: not covered"]}

Harbor's `reward.txt`, and `reward` in place of `score`, are read as well.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from harness.sandbox.base import Completed, Policy, Sandbox
from harness.tasks.base import Task
from harness.tasks.folder import matches
from harness.tasks.harbor import place_paths
from harness.workspace import IGNORED, changed_files, copy_tree, files_of
from profiler.dispatch_records import Outcome, Verified

__all__ = ["protected_changes", "verify"]

_SHOWN_BYTES = 600


class _Reward(msgspec.Struct):
    score: float | None = None
    reward: float | None = None
    parts: dict[str, Any] = {}
    notes: tuple[str, ...] = ()


def verify(
    task: Task, workspace: Path, sandbox: Sandbox, *, ledger: Path | None = None, seconds: float | None = None
) -> Outcome:
    """What the agent's workspace is worth. The workspace and the task's folder stay as they are.

    Args:
        task: the materialised task.
        workspace: what the agent left; it is copied without links that lead out of it.
        sandbox: where the verifier runs, for it runs code that the agent wrote.
        ledger: the calls that a toolset wrote down, for `LEDGER`; copied.
        seconds: how long the dispatch took, for claims about it.

    Returns:
        The outcome; `valid` is false if the verifier failed, ran past its time, or wrote no score in [0, 1].

    Raises:
        SandboxError: the verifier could not be started confined.
    """
    with tempfile.TemporaryDirectory(prefix="dyno-verify-") as place:
        fresh = Path(place).resolve()
        copy_tree(workspace, fresh / "workspace", leave_out=IGNORED)
        _restore(task, fresh / "workspace")
        for part, target in (("workspace", "original"), ("hidden", "hidden"), ("tests", "tests")):
            copy_tree(task.folder / part, fresh / target, leave_out=IGNORED)
        (fresh / "reward").mkdir()
        if ledger is not None:
            shutil.copyfile(ledger, fresh / "ledger")
        _place_harbors_paths(fresh)
        policy = Policy(
            workspace=fresh / "workspace",
            readable=(fresh,),
            writable=(fresh / "reward",),
            network="loopback" if task.harness.loopback else "none",
            wall_s=task.verifier_timeout_s,
            cpu_s=math.ceil(task.verifier_timeout_s),
            env=_environment(fresh, ledger, seconds),
        )
        completed = sandbox.run(("sh", str(fresh / "tests" / "test.sh")), policy)
        return _outcome(completed, fresh / "reward", task.verifier_timeout_s)


def protected_changes(task: Task, workspace: Path) -> tuple[str, ...]:
    """Protected files that the agent changed, removed or added, by their relative paths."""
    changed = changed_files(task.folder / "workspace", workspace)
    return tuple(name for name in changed if matches(name, task.harness.protected))


def _restore(task: Task, workspace: Path) -> None:
    """Put protected files back: what the agent added among them goes, what it changed or removed is as it was."""
    pristine = task.folder / "workspace"
    for path in [*workspace.rglob("*")]:
        name = path.relative_to(workspace).as_posix()
        ours = path.is_symlink() or not path.is_dir()
        if ours and matches(name, task.harness.protected) and not (pristine / name).is_file():
            path.unlink()
    for name in files_of(pristine):
        if matches(name, task.harness.protected):
            _make_real_folders(workspace, Path(name).parent)
            if (workspace / name).is_dir() and not (workspace / name).is_symlink():
                shutil.rmtree(workspace / name)
            (workspace / name).unlink(missing_ok=True)
            shutil.copy(pristine / name, workspace / name)


def _make_real_folders(workspace: Path, parent: Path) -> None:
    """Folders down to `parent`, in place of links or files: a copy must not be written through an agent's link."""
    place = workspace
    for part in parent.parts:
        place = place / part
        if place.is_symlink() or place.is_file():
            place.unlink()
        place.mkdir(exist_ok=True)


def _place_harbors_paths(fresh: Path) -> None:
    script = fresh / "tests" / "test.sh"
    if "/logs/verifier" not in script.read_text(encoding="utf-8", errors="replace"):
        return
    places = {"logs/verifier": str(fresh / "reward"), "tests": str(fresh / "tests"), "app": str(fresh / "workspace")}
    for name in files_of(fresh / "tests"):
        if name.endswith((".sh", ".py")):
            place_paths(fresh / "tests" / name, places)


def _environment(fresh: Path, ledger: Path | None, seconds: float | None) -> dict[str, str]:
    return {
        "TASK_DIR": str(fresh),
        "WORKSPACE": str(fresh / "workspace"),
        "ORIGINAL": str(fresh / "original"),
        "HIDDEN": str(fresh / "hidden"),
        "REWARD_DIR": str(fresh / "reward"),
        **({"LEDGER": str(fresh / "ledger")} if ledger is not None else {}),
        **({"DYNO_SECONDS": f"{seconds:.3f}"} if seconds is not None else {}),
    }


def _outcome(completed: Completed, reward: Path, limit_s: float) -> Outcome:
    said = completed.output[-_SHOWN_BYTES:].decode("utf-8", "replace").strip()
    if completed.timed_out:
        return _invalid(f"the verifier ran past its {limit_s:g} s", said, completed)
    if completed.exit_code != 0:
        return _invalid(f"the verifier ended with exit code {completed.exit_code}", said, completed)
    try:
        read = _read_reward(reward)
    except (OSError, UnicodeDecodeError, ValueError, msgspec.MsgspecError) as error:
        return _invalid(f"the verifier wrote no reward that can be read: {error}", said, completed)
    score = read.score if read.score is not None else read.reward
    if score is None or not 0 <= score <= 1:
        return _invalid(f"the verifier's score is {score}, not in [0, 1]", said, completed)
    verified: Verified = "pass" if score == 1 else "fail" if score == 0 else "partial"
    return Outcome(verified, float(score), read.parts, read.notes, duration_ns=completed.duration_ns)


def _read_reward(folder: Path) -> _Reward:
    written = folder / "reward.json"
    if written.is_symlink() or (folder / "reward.txt").is_symlink():
        raise ValueError("it is a link")
    if written.is_file():
        return msgspec.json.decode(written.read_bytes(), type=_Reward)
    return _Reward(score=float((folder / "reward.txt").read_text(encoding="utf-8")))


def _invalid(note: str, said: str, completed: Completed) -> Outcome:
    notes = (note, said) if said else (note,)
    return Outcome("not_run", None, notes=notes, valid=False, duration_ns=completed.duration_ns)
