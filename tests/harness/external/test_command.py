"""A command made ready: placeholders, environment, standard input, what it may read."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.external.command import AgentError, ExternalAgent, Started, prepared

SECRET = "do {this}; $(that)"


def ready(agent: ExternalAgent, tmp_path: Path) -> Started:
    return prepared(
        agent,
        address="http://127.0.0.1:9/d/d1",
        workspace=tmp_path / "ws",
        instruction=SECRET,
        instruction_file=tmp_path / "instruction.md",
    )


def test_every_placeholder_is_filled_in_and_nothing_is_read_by_a_shell(tmp_path: Path) -> None:
    command = f"{sys.executable} -c 'x={{}}' {{instruction}} --url={{base_url}} {{workspace}} {{model}} $HOME"
    agent = ExternalAgent(command, model="m", env={"A": "{instruction_file}"}, files={"c.json": '{"u": "{base_url}"}'})
    started = ready(agent, tmp_path)
    url = "http://127.0.0.1:9/d/d1/v1"
    assert started.argv[1:] == ("-c", "x={}", SECRET, f"--url={url}", str(tmp_path / "ws"), "m", "$HOME")
    assert started.policy.env["A"] == str(tmp_path / "instruction.md")
    assert started.files == {"c.json": f'{{"u": "{url}"}}'}
    assert started.stdin == b""


def test_without_a_placeholder_for_it_the_instruction_is_read_on_the_standard_input(tmp_path: Path) -> None:
    started = ready(ExternalAgent(sys.executable, env={"OPENAI_API_KEY": "mine"}), tmp_path)
    assert started.stdin == SECRET.encode()
    env = started.policy.env
    assert env["OPENAI_BASE_URL"] == env["OPENAI_API_BASE"] == "http://127.0.0.1:9/d/d1/v1"
    assert env["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:9/d/d1"
    assert (env["OPENAI_API_KEY"], env["ANTHROPIC_API_KEY"]) == ("mine", "dyno")


def test_an_agent_may_reach_the_network_and_its_own_program(tmp_path: Path) -> None:
    program = tmp_path / "venv" / "bin" / "agent"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    policy = ready(ExternalAgent(f"{program} --print", readable=(tmp_path / "own",), wall_s=7), tmp_path).policy
    assert policy.network == "host"
    assert (policy.wall_s, policy.workspace) == (7, tmp_path / "ws")
    assert {tmp_path / "own", tmp_path / "venv", tmp_path / "instruction.md"} <= set(policy.readable)


@pytest.mark.parametrize(
    ("command", "match"), [("", "empty"), ("a 'b", "cannot be read"), ("no-such-program-here x", "is not there")]
)
def test_a_command_that_cannot_be_run_is_one_line_with_a_hint(command: str, match: str, tmp_path: Path) -> None:
    with pytest.raises(AgentError, match=match) as caught:
        ready(ExternalAgent(command), tmp_path)
    assert caught.value.hint
