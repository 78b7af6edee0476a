"""The command of an external agent, made ready to run: placeholders, environment, what it may read. Starts nothing."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

import msgspec

from harness.sandbox.base import Policy

__all__ = ["AgentError", "ExternalAgent", "Started", "prepared", "program_of"]

KEY = "dyno"
"""What an agent is given as a key where it has none: most clients refuse to start without one."""


class AgentError(Exception):
    """A command that cannot be an agent: which, and what to do next (exit code 2)."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class ExternalAgent(msgspec.Struct, frozen=True):
    """A command line as an agent, taken apart as a shell would, but run without one.

    `{base_url}` (with `/v1`), `{workspace}`, `{instruction}`, `{instruction_file}` and `{model}` are filled in, in
    `command`, in the values of `env`, and in the texts of `files`, which are written under the agent's HOME by their
    relative paths. Without either of the instruction's placeholders it is given on the standard input. `readable` and
    `writable` are folders beside its workspace, for its own settings and its toolchain.
    """

    command: str
    model: str = ""
    env: dict[str, str] = {}
    files: dict[str, str] = {}
    readable: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()
    wall_s: float = 1800.0
    output_bytes: int = 16 * 2**20


class Started(msgspec.Struct, frozen=True):
    """A command ready to be run: its words, its policy, what it reads on its standard input, files for its HOME."""

    argv: tuple[str, ...]
    policy: Policy
    stdin: bytes
    files: dict[str, str]


def prepared(
    agent: ExternalAgent, *, address: str, workspace: Path, instruction: str, instruction_file: Path
) -> Started:
    """Fill the placeholders in. `address` is the endpoint's for this dispatch, without `/v1`.

    Raises:
        AgentError: as `program_of`.
    """
    values = {
        "base_url": f"{address}/v1",
        "workspace": str(workspace),
        "instruction": instruction,
        "instruction_file": str(instruction_file),
        "model": agent.model,
    }
    program, words = program_of(agent)
    texts = (agent.command, *agent.env.values(), *agent.files.values())
    on_stdin = not any(mark in text for mark in ("{instruction}", "{instruction_file}") for text in texts)
    env = {
        "OPENAI_BASE_URL": values["base_url"],
        "OPENAI_API_BASE": values["base_url"],
        "ANTHROPIC_BASE_URL": address,
        "OPENAI_API_KEY": KEY,
        "ANTHROPIC_API_KEY": KEY,
        "DYNO_INSTRUCTION_FILE": values["instruction_file"],
        "DYNO_MODEL": agent.model,
        "NO_PROXY": "127.0.0.1,localhost",
        "PATH": os.pathsep.join((str(program.parent), os.environ.get("PATH", os.defpath))),
        **{name: _filled(text, values) for name, text in agent.env.items()},
    }
    policy = Policy(
        workspace=workspace,
        readable=(*agent.readable, *_folders_of(program), instruction_file),
        writable=agent.writable,
        network="host",
        wall_s=agent.wall_s,
        cpu_s=max(1, round(agent.wall_s)),
        open_files=4096,
        processes=512,
        output_bytes=agent.output_bytes,
        env=env,
    )
    return Started(
        argv=(str(program), *(_filled(word, values) for word in words)),
        policy=policy,
        stdin=instruction.encode() if on_stdin else b"",
        files={path: _filled(text, values) for path, text in agent.files.items()},
    )


def program_of(agent: ExternalAgent) -> tuple[Path, tuple[str, ...]]:
    """The program of the command, and its words after that.

    Raises:
        AgentError: the command line is empty or not closed, or its program is not there.
    """
    try:
        words = shlex.split(agent.command)
    except ValueError as error:
        raise AgentError(f"the agent's command cannot be read ({error})", hint="close its quotes") from error
    if not words:
        raise AgentError("the agent's command is empty", hint='for example --agent "pi --print {instruction}"')
    program = shutil.which(words[0].replace("{python}", sys.executable))
    if program is None:
        raise AgentError(f"the agent's program {words[0]!r} is not there", hint="install it, or give its path")
    return Path(program).absolute(), tuple(words[1:])


def _folders_of(program: Path) -> tuple[Path, ...]:
    """Where a program has its own things, behind links too: its folder, that of a `bin`, its node_modules."""
    found: list[Path] = []
    for place in (program.parent, program.resolve().parent):
        found.append(place.parent if place.name == "bin" else place)
        found += [parent for parent in place.parents if parent.name == "node_modules"]
    return tuple(dict.fromkeys(found))


def _filled(text: str, values: dict[str, str]) -> str:
    """The text with its placeholders filled in; other braces stay as they are."""
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text
