"""The tasks of the pack: prompts of the size that an instance's name says, and what its verifier counts."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from harness.agent.loop import Job, run_agent
from harness.agent.model import ScriptModel
from harness.personas import find_persona
from harness.settings import Setting
from harness.tasks.base import Task
from harness.tasks.ctxgrow.generator import SIZES
from harness.tasks.registry import instruction, list_packs, materialise, trajectory
from harness.tools.toolset import make_toolset
from profiler.dispatch_records import TurnRecord
from tests.harness.tasks.bare_sandbox import BareSandbox
from tests.tiny_model.templates import FOLDER, render

PACK = next(pack for pack in list_packs() if pack.id == "ctxgrow")
TOLERANCE = 0.1


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    tokenizers = pytest.importorskip("tokenizers")
    return tokenizers.Tokenizer.from_file(str(FOLDER / "tokenizer.json"))


@pytest.fixture
def small(tmp_path: Path) -> Task:
    return materialise("ctxgrow/8k-1", 0, tmp_path / "task")


def prompts(task: Task, place: Path) -> list[str]:
    """The first and the last prompt of the oracle under the default setting, as the bundled template renders them."""
    shutil.copytree(task.folder / "workspace", place)
    setting = Setting()
    tools = make_toolset(task, setting, place, BareSandbox())
    turns: list[TurnRecord] = []
    finished = run_agent(
        Job(
            dispatch_id="0001",
            instruction=instruction(task, "bounded"),
            setting=setting,
            model=ScriptModel(trajectory(task, "oracle", "bounded")),
            clock=lambda: 0,
            wall_clock=lambda: 0,
            on_turn=turns.append,
            tools=tools,
            workspace=place,
            persona=find_persona(setting.task.persona).text,
        )
    )
    assert finished.exit_status == "submitted"
    assert all(call.ok and call.result_bytes < setting.calls.output_bytes for turn in turns for call in turn.calls)
    messages = list(finished.messages)
    asked = [at for at, message in enumerate(messages) if message["role"] == "assistant"]
    schemas = [tool.schema for tool in tools]
    return [render(messages[:at], schemas, generate=True) for at in (asked[0], asked[-1])]


@pytest.mark.parametrize("instance", PACK.instances)
def test_a_rehearsal_grows_to_the_size_of_the_name(instance: str, tmp_path: Path, tokenizer: Any) -> None:
    task = materialise(f"ctxgrow/{instance}", 0, tmp_path / "task")
    first, last = (len(tokenizer.encode(text).ids) for text in prompts(task, tmp_path / "workspace"))
    size = SIZES[instance.partition("-")[0]].tokens
    assert (1 - TOLERANCE) * size <= last <= size, "near the size, and a context of that size still holds it"
    assert first < 1300, "what is there before anything is read"


def test_every_size_has_an_instance_and_fits_the_default_limit_of_turns(tmp_path: Path) -> None:
    assert {instance.partition("-")[0] for instance in PACK.instances} == set(SIZES)
    for size in SIZES.values():
        reads = size.files * -(-size.lines // size.lines_per_read)
        assert reads + 3 <= Setting().limits.turns
    assert all(2 * small.tokens == large.tokens for small, large in pairwise(SIZES.values()))


def test_there_is_one_seal_in_each_file_and_all_lines_are_read(small: Task) -> None:
    seals = json.loads((small.folder / "hidden" / "seals.json").read_text(encoding="utf-8"))
    files = [path for path in (small.folder / "workspace").rglob("*") if path.is_file()]
    assert len(files) == len(seals) == SIZES["8k"].files
    text = "".join(path.read_text(encoding="utf-8") for path in files)
    for name, seal in seals.items():
        assert text.count(f"seal of {name}: {seal}\n") == 1
    read = [
        call.arguments for step in trajectory(small, "oracle", "bounded") for call in step.calls if call.name == "read"
    ]
    for path in files:
        name = path.relative_to(small.folder / "workspace").as_posix()
        covered = {
            line
            for part in read
            if part["path"] == name
            for line in range(part["offset"], part["offset"] + part["limit"])
        }
        assert covered == set(range(1, len(path.read_text(encoding="utf-8").splitlines()) + 1))
        assert name in instruction(small, "bounded")
        assert name not in instruction(small, "open")


@pytest.mark.parametrize(
    ("change", "found", "wrong", "made_up"),
    [
        (lambda text: text, 4, 0, 0),
        (lambda text: text.replace(": ", " = ").upper(), 4, 0, 0),
        (lambda text: "- " + text.replace("\n", "\n- "), 4, 0, 0),
        (lambda text: "\n".join(text.splitlines()[:3]), 3, 0, 0),
        (lambda text: text + text.splitlines()[0][:-1] + "x\n", 3, 1, 0),
        (lambda text: text + "nowhere: quiet-otter-100\n", 4, 0, 1),
        (lambda _: "", 0, 0, 0),
    ],
    ids=["right", "other form", "list", "one missing", "two seals for a name", "made up", "empty"],
)  # fmt: skip
def test_the_verifier_counts_seals(
    small: Task, tmp_path: Path, change: Any, found: int, wrong: int, made_up: int
) -> None:
    answer = (small.folder / "solution" / "files" / "facts.txt").read_text(encoding="utf-8")
    (tmp_path / "facts.txt").write_text(change(answer), encoding="utf-8")
    env = {"TASK_DIR": str(small.folder), "WORKSPACE": str(tmp_path), "REWARD_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-B", str(small.folder / "tests" / "verify.py")], env=env, check=True)
    reward = json.loads((tmp_path / "reward.json").read_text(encoding="utf-8"))
    assert reward["score"] == found / 4
    assert reward["parts"] == {"found": found, "seals": 4, "wrong": wrong, "made_up": made_up}
