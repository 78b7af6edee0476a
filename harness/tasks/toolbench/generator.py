"""Builds the task folders of toolbench: one question each, drawn from the instance's name and the seed.

The kinds and their tiers are in `questions`; the oracle's calls are the ones that the bundled model is trained on, of
other questions.
"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import msgspec

from harness.tasks.base import Baselines, Call, Harness, Step, TaskError
from harness.tasks.draft import Draft, call, write_draft
from harness.tasks.toolbench.questions import KINDS, TIERS, Kind, Question, draw
from harness.tasks.toolbench.world import WORDS

__all__ = ["build", "question_of"]

TIMEOUT_S = 120.0
_TITLES = {
    "select": "Choose the right one of similar tools",
    "arguments": "Take arguments from the question",
    "chain2": "Follow a trail of 2 calls",
    "chain4": "Follow a trail of 4 calls",
    "recover": "Do what an error asks, and try again",
    "chain6": "Follow a trail of 6 calls past false signs",
    "impossible": "Say that no tool can tell",
}
_README = "There is nothing to do in this folder: what is asked is known to the tools alone.\n"
_SOLVE_SH = """#!/bin/sh
# The answer lies in the calls that were made, not in files: they go into the ledger that the verifier reads.
cat "$(dirname "$0")/files/calls.jsonl" >> "${LEDGER:?set LEDGER to the file that the verifier reads}"
"""


def question_of(instance: str, seed: int) -> Question:
    """The question of an instance, say `chain4-2`. The same seed gives the same one.

    Raises:
        TaskError: toolbench has no such kind.
    """
    kinds: dict[str, Kind] = {kind: kind for kind in KINDS}
    name = instance.rpartition("-")[0]
    if name not in kinds:
        raise TaskError(f"toolbench has no kind {name!r}", f"instances are named <kind>-<number>: {', '.join(KINDS)}")
    return draw(Random(f"toolbench {instance} {seed}"), kinds[name])


def build(instance: str, seed: int, folder: Path) -> None:
    """Write an instance's task folder.

    Raises:
        TaskError: toolbench has no such instance.
        OSError: a file cannot be written.
    """
    question = question_of(instance, seed)
    calls = (*question.calls, question.submission)
    replies = (*question.replies(), "submitted")
    rows = [
        {"name": made.name, "arguments": made.arguments, "ok": not reply.startswith("error"), "answer": reply}
        for made, reply in zip(calls, replies, strict=True)
    ]
    draft = Draft(
        name=f"toolbench/{instance}",
        title=_TITLES[question.kind],
        seed=seed,
        difficulty=TIERS[question.kind],
        harness=Harness(
            tools=question.tools,
            toolset="toolbench",
            protected=("**",),
            requires_changes=False,
            baseline=Baselines(nop=0.0, tamper_caught_by=("hallucinated_completion",)),
        ),
        instructions={"": question.instruction},
        verifier=Path(__file__).with_name("verifier.py").read_text(encoding="utf-8"),
        solution={"calls.jsonl": "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)},
        trajectories=_trajectories(question, calls),
        workspace={"README.md": _README},
        hidden={
            "world.json": _json(question.world),
            "expected.json": _json({"answer": question.answer, "calls": question.calls}),
        },
        agent_timeout_s=TIMEOUT_S,
        verifier_timeout_s=TIMEOUT_S / 4,
    )
    write_draft(draft, folder)
    (folder / "solution" / "solve.sh").write_text(_SOLVE_SH, encoding="utf-8", newline="\n")


def _trajectories(question: Question, calls: tuple[Call, ...]) -> dict[str, tuple[Step, ...]]:
    made_up = next(f"{word}-0000" for word in WORDS if f"{word}-0000" != question.answer)
    return {
        "oracle": tuple(Step(calls=(made,)) for made in calls),
        "nop": (Step(content="I leave everything as it is."),),
        "tamper": (Step(calls=(call("submit", answer=made_up),)),),
        "placeholder": (Step(calls=(call("submit", answer="TODO"),)),),
    }


def _json(value: object) -> str:
    return json.dumps(msgspec.to_builtins(value), ensure_ascii=False, indent=1) + "\n"
