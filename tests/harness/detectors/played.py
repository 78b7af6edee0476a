"""Dispatches for tests of detectors: the real agent loop and the real tools at work on a small task, then a case of it.

A model says what it is told (`Told`); files, commands and tests are real. What a verifier would find is given.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from backends.base import Evidence, JsonObject
from harness.agent.model import Answer, Model
from harness.detectors.base import Case
from harness.differences import changes_of
from harness.settings import Setting, levers
from harness.tasks.base import Harness, Task
from harness.tasks.verify import protected_changes
from harness.tools.toolset import make_toolset
from profiler.dispatch_records import Capabilities, DispatchStarted, Outcome
from profiler.records import CacheVerdict, Reply, RequestRecord, Stamps
from tests.harness.agent.agent_world import Told, calling, saying, worked
from tests.harness.tasks.bare_sandbox import BareSandbox

__all__ = ["EDIT", "READ", "SUBMIT", "TEST", "Example", "act", "played", "request", "say", "submit"]

FILES = {
    "app.py": "def answer():\n    return 41\n\n\ndef other():\n    return 1\n",
    "util.py": "LIMIT = 3\n",
    "tests/test_app.py": "from app import answer\n\n\ndef test_answer():\n    assert answer() == 42\n",
}
CHECK = "if grep -q 'return 42' app.py; then echo '1 passed'; else echo '1 failed'; exit 1; fi"
HARNESS: JsonObject = {
    "protected": ["tests/**"],
    "allowed": ["app.py", "util.py", "docs/**"],
    "notes_file": "NOTES.md",
    "tests": {"suite": CHECK, "file": CHECK, "test": CHECK},
}
NO_SANDBOX = Capabilities("bare", *([False] * 7))

READ = ("read", {"path": "app.py"})
EDIT = ("edit", {"path": "app.py", "old": "return 41", "new": "return 42"})
TEST = ("test", {"name": "tests/test_app.py"})
SUBMIT = ("submit", {"message": "The answer is 42 now, and its test passes."})

act = calling
say = saying


def submit(message: str) -> Answer:
    return calling(("submit", {"message": message}))


class Example(msgspec.Struct, frozen=True):
    """A dispatch in which a failure mode is to be seen, or not; `certain` is what the detection says of itself."""

    code: str
    name: str
    case: Callable[[Path], Case]
    fires: bool = True
    certain: bool | None = None


def request(number: int, *, prompt: int | None = None, generated: int | None = None, **evidence: Any) -> RequestRecord:
    """What an engine said of the request of that number."""
    return RequestRecord(
        request_id=number,
        session="d1",
        conversation="main",
        turn=number,
        repeat=0,
        fidelity="dispatch",
        forcing="none",
        sent_unix_ns=0,
        stamps=Stamps(0),
        evidence=Evidence(prompt_tokens=prompt, generated_tokens=generated, **evidence),
        reply=Reply({}),
        verdict=CacheVerdict("unknown", prompt, None, None, None, None, False, None, None, None, None, "unknown"),
    )


def played(
    place: Path,
    *answers: Answer,
    model: Model | None = None,
    verified: str = "pass",
    outcome: JsonObject | None = None,
    setting: JsonObject | None = None,
    harness: JsonObject | None = None,
    files: JsonObject | None = None,
    requests: Iterable[RequestRecord] = (),
    rendered: dict[int, int] | None = None,
    context_tokens: int | None = None,
    actor: str = "model",
    wall_s: float = 60.0,
    tick_s: float = 0.001,
) -> Case:
    """Let an agent work on the small task, and take down how that went.

    Args:
        place: an empty folder.
        answers: what the model says, turn by turn; the last one again and again.
        verified: what the verifier finds; `outcome` is more of it.
        setting: levers as in TOML; `harness` what differs from the task's table.
        files: further files of the workspace, or other texts for those that there are.
        requests: what the engine said; `rendered` how many tokens were sent, by request.
        actor: who the dispatch says was at work.
        wall_s: how long it took; `tick_s` what each look at the agent's clock adds.
    """
    folder, workspace = place / "task", place / "work"
    for name, text in {**FILES, **(files or {})}.items():
        path = folder / "workspace" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    shutil.copytree(folder / "workspace", workspace)
    task = Task("small/1", "small", 1, "small", folder, msgspec.convert({**HARNESS, **(harness or {})}, Harness))
    made = msgspec.convert(setting or {}, Setting)
    clock = count(0, int(tick_s * 1e9))
    finished, turns = worked(
        model or Told(*answers),
        setting,
        tools=() if task.harness.single_shot else make_toolset(task, made, workspace, BareSandbox()),
        workspace=workspace,
        context_tokens=context_tokens,
        clock=lambda: next(clock),
    )
    return Case(
        started=_started(made, actor),
        task=task,
        setting=made,
        turns=tuple(turns),
        requests=tuple(requests),
        exit_status=finished.exit_status,
        final_message=finished.final_message,
        outcome=msgspec.convert({"verified": verified, **(outcome or {})}, Outcome),
        wall_ns=int(wall_s * 1e9),
        changes=changes_of(folder / "workspace", workspace),
        protected_changes=protected_changes(task, workspace),
        rendered_tokens=rendered or {},
        context_tokens=context_tokens,
        error=finished.error,
    )


def _started(setting: Setting, actor: str) -> DispatchStarted:
    return msgspec.convert(
        {
            "dispatch_id": "d1",
            "task": "small/1",
            "pack": "small",
            "seed": 1,
            "task_sha256": "",
            "setting": "plain",
            "setting_fingerprint": "",
            "levers": levers(setting),
            "actor": actor,
            "agent": "told",
            "fidelity": "no_engine",
            "target": None,
            "sandbox": msgspec.to_builtins(NO_SANDBOX),
            "started_unix_ns": 0,
            "started_ns": 0,
        },
        DispatchStarted,
    )
