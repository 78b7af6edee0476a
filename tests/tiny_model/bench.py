"""Dispatches of toolbench on the tiny model, turn by turn as the harness makes them, and the shares that it solves.

    python -m tests.tiny_model.bench profiles/models/tiny --count 24
    python -m tests.tiny_model.bench profiles/models/tiny --count 24 --bloat 9000

Asks the real llama-server, greedily, one chat for each question. Questions are those that the task pack builds for
these instances and seeds; training has none of them. The product's own loop, sandbox and records are not used here.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import httpx

from harness.settings import Skills
from harness.skills import skill_text
from harness.tasks.base import Call
from harness.tasks.toolbench.catalogue import SCHEMAS
from harness.tasks.toolbench.generator import question_of
from harness.tasks.toolbench.questions import KINDS, TIERS, Kind, Question
from harness.tasks.toolbench.verifier import score
from harness.tasks.toolbench.world import answer
from tests.tiny_model.chats import Message
from tests.tiny_model.evaluate import FILES, called
from tests.tiny_model.server import Server, serving

INSTANCES = 6
TURNS = 12
PERSONA = Path(__file__).parents[2] / "profiles" / "personas" / "engineer.md"


def questions(kind: Kind, count: int) -> list[Question]:
    """The first questions of a kind: its instances with seed 0, then with seed 1, and so on."""
    return [question_of(f"{kind}-{number % INSTANCES + 1}", number // INSTANCES) for number in range(count)]


def dispatch(server: Server, question: Question, system: str = "") -> tuple[float, list[Message]]:
    """Let the model work on a question until it submits, stops, or has had its turns; its score, and the chat."""
    messages: list[Message] = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": question.instruction})
    rows: list[dict[str, Any]] = []
    for _ in range(TURNS):
        try:
            reply = server.chat(messages, [SCHEMAS[name] for name in question.tools])
        except httpx.HTTPStatusError as error:
            # What the server cannot take apart is the model's fault, and the end; anything else is not.
            if "parse" not in error.response.text:
                raise
            break
        messages.append(reply)
        made = called(reply)
        if not made:
            break
        for at, (name, arguments) in enumerate(made):
            text, ok = _run(question, name, arguments, rows)
            if isinstance(arguments, dict):
                rows.append({"name": name, "arguments": arguments, "ok": ok, "answer": text})
            messages.append({"role": "tool", "tool_call_id": reply["tool_calls"][at]["id"], "content": text})
        if any(name == "submit" for name, _ in made):
            break
    expected = {
        "answer": question.answer,
        "calls": [{"name": call.name, "arguments": call.arguments} for call in question.calls],
    }
    return float(score(rows, expected)["score"]), messages


def _run(question: Question, name: str, arguments: Any, rows: list[dict[str, Any]]) -> tuple[str, bool]:
    if name not in question.tools or not isinstance(arguments, dict) or not arguments:
        return f"error: no such call: {name}", False
    if name == "submit":
        return "submitted", True
    before = tuple(Call(row["name"], row["arguments"]) for row in rows)
    return answer(question.world, Call(name, arguments), before)


def persona(path: Path = PERSONA) -> str:
    """The text of a persona, without what stands above it for the harness."""
    return path.read_text(encoding="utf-8").split("---\n", 2)[-1].strip()


def bloated(size_bytes: int) -> str:
    """The persona, and so many bytes of skills that have nothing to do with the task, as the harness puts them."""
    return f"{persona()}\n\n{skill_text(Skills(bytes=size_bytes, kind='bloat'), 'toolbench')}"


def measure(server: Server, count: int, system: str) -> dict[str, dict[str, float]]:
    """By kind, then by tier, then over all: the share solved, and the mean score."""
    scores = {kind: [dispatch(server, question, system)[0] for question in questions(kind, count)] for kind in KINDS}
    groups: dict[str, list[float]] = dict(scores.items())
    for tier in dict.fromkeys(TIERS.values()):
        groups[tier] = [each for kind in KINDS if TIERS[kind] == tier for each in scores[kind]]
    groups["all"] = [each for kind in KINDS for each in scores[kind]]
    return {
        name: {
            "solved": round(sum(each == 1.0 for each in group) / len(group), 3),
            "score": round(sum(group) / len(group), 3),
        }
        for name, group in groups.items()
    }


def main() -> None:
    """Measure the files of a folder and print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=24, help="questions of each kind")
    parser.add_argument("--persona", type=Path, default=PERSONA, help="the system prompt")
    parser.add_argument("--bloat", type=int, default=0, help="bytes of bloat skills behind the persona `engineer`")
    parser.add_argument("--files", nargs="*", default=list(FILES))
    arguments = parser.parse_args()
    result = {}
    for name in arguments.files:
        with serving(arguments.folder / name, context=8192) as server:
            system = bloated(arguments.bloat) if arguments.bloat else persona(arguments.persona)
            result[name] = measure(server, arguments.count, system)
    sys.stdout.write(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
