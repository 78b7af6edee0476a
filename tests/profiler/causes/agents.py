"""What coding agents send: system prompts, environment blocks and reminders in the words of those agents.

Shortened from what the issues cited in the project's notes on prompt caches show (opencode #5224, #14743, #23595;
claude-code #47107, #50085; llama.cpp PR #20623, #21793; ollama PR #17918, #18431; openclaw #20221, #100271;
pi #6621; qwen-code #6338; oh-my-pi #7324).
"""

from __future__ import annotations

from backends.base import JsonObject
from tests.profiler.causes.world import assistant, call, result, system, tool, user

RULES = "\n".join(
    f"- Rule {number}: {text}"
    for number, text in enumerate(
        (
            "keep answers short and name every file that you touched",
            "never change tests to make them pass unless you are told to",
            "run the linter before you say that something is done",
            "prefer small edits over new files and explain each one",
            "ask before you delete anything that is under version control",
        ),
        1,
    )
)

TOOLS = (
    tool("read", path="string", offset="integer"),
    tool("bash", command="string", timeout="integer"),
    tool("edit", path="string", old="string", new="string"),
)

TASK = "The totals in the invoice export are wrong for refunds. Find out why and fix it, please."
SOURCE = "\n".join(f"def refund_{n}(amount, rate):\n    return amount * rate - {n}\n" for n in range(12))


def opencode(date: str = "Fri Nov 20 2026", cwd: str = "/srv/ledger") -> str:
    return (
        f"You are opencode, an interactive CLI tool that helps users with software engineering tasks.\n{RULES}\n"
        f"<env>\n  Working directory: {cwd}\n  Is directory a git repo: yes\n  Platform: linux\n"
        f"  Today's date: {date}\n</env>\n"
    )


GIT_STATUS = """gitStatus: This is the git status at the start of the conversation.
Current branch: {branch}

Main branch (you will usually use this for PRs): main

Status:
{status}

Recent commits:
{commits}"""


def claude_code(
    cch: str | None = None, status: str = "(clean)", branch: str = "main", commits: str = "a1b2c3d Fix rounding"
) -> str:
    header = f"x-anthropic-billing-header: cc_version=2.1.37.0d9; cc_entrypoint=cli; cch={cch};\n" if cch else ""
    return (
        f"{header}You are Claude Code, Anthropic's official CLI for Claude.\n{RULES}\n"
        f"{GIT_STATUS.format(branch=branch, status=status, commits=commits)}\n"
    )


def history(system_text: str) -> tuple[list[JsonObject], JsonObject, list[JsonObject]]:
    """A conversation up to a request, its reply, and what the agent adds for the next request."""
    before = [
        system(system_text),
        user(TASK),
        assistant("I read the export first.", call("read", '{"path": "ledger/export.py"}', "call_1")),
        result(SOURCE, "call_1"),
    ]
    reply = assistant("The rate is applied twice.", call("bash", '{"command": "pytest -q"}', "call_2"))
    return before, reply, [result("3 failed, 41 passed in 2.11s\n" + SOURCE[:200], "call_2")]
