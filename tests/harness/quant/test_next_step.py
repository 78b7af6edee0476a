"""The command that would decide is one that `dyno quant` takes, with what the user wanted. Candidates are made up."""

from __future__ import annotations

import shlex
from pathlib import Path

import msgspec
import pytest
from typer.main import get_command

from backends.base import Target
from harness.cli import app
from harness.quant.base import Wanted
from harness.quant.engines import options_of
from harness.quant.next_step import command_line, with_less_need, with_more_rounds, with_reference, with_tasks
from tests.harness.quant.made_up import GIB, WANTED, candidate

ALL = Wanted(8192, slots=4, memory_bytes=20 * GIB, least_decode_per_s=20.0)


def test_it_says_what_was_wanted_and_no_more() -> None:
    assert command_line([candidate("Q6_K")], WANTED) == "dyno quant models/made-up-8b-Q6_K.gguf --context 8192"
    assert command_line([candidate("Q6_K", kv="q8_0")], ALL).endswith(
        "--context 8192 --kv q8_0 --slots 4 --memory 20G --min-decode 20"
    )


def test_engine_and_launch_settings_are_kept_but_not_the_usual_ones() -> None:
    options = options_of("llama-cpp", candidate("Q6_K").candidate.model, "f16", WANTED, {"n_gpu": "0", "batch": "64"})
    on = Target("llama-cpp", "m.gguf", options=options)
    made = [
        msgspec.structs.replace(one, candidate=msgspec.structs.replace(one.candidate, target=on))
        for one in (candidate("Q6_K"), candidate("Q8_0"))
    ]
    assert command_line(made, WANTED, "--repeats", "4").endswith(
        " --context 8192 --engine llama-cpp --set n_gpu=0 --set batch=64 --repeats 4"
    )
    assert "--set batch=64" in (with_less_need(made, WANTED) or "")


def test_files_stand_once_and_are_quoted() -> None:
    made = candidate("Q6_K")
    named = msgspec.structs.replace(made.candidate.model, path=Path("my models/a;b.gguf"))
    odd = msgspec.structs.replace(made, candidate=msgspec.structs.replace(made.candidate, model=named))
    assert shlex.split(command_line([odd, odd], WANTED))[2:4] == ["my models/a;b.gguf", "--context"]


def test_less_context_is_halved_until_little_is_left() -> None:
    assert "--context 4096" in (with_less_need([candidate("Q6_K")], WANTED) or "")
    assert with_less_need([candidate("Q6_K")], Wanted(2048)) is None


@pytest.mark.parametrize(
    "command",
    [
        with_tasks([candidate("Q6_K")], ALL),
        with_more_rounds([candidate("Q6_K", kv="q8_0")], ALL, 4),
        with_reference([candidate("Q6_K")], ALL),
    ],
)
def test_every_option_is_one_of_the_command(command: str) -> None:
    known = get_command(app).commands["quant"]  # type: ignore[attr-defined]
    options = {name for parameter in known.params for name in parameter.opts}
    assert {word for word in shlex.split(command) if word.startswith("--")} <= options
