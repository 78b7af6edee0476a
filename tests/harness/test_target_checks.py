"""What can be said of a target without opening it: its options, its paths, its packages, and what each option means."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from backends import engine_names, load
from backends.base import MissingExtra, ModelFileError, Target, TargetError, UnknownEngine
from harness.target_checks import check_target, fault_of, option_rows
from harness.targets import find_targets


def test_the_bundled_targets_could_be_opened() -> None:
    for found in find_targets():
        assert found.target is not None
        fault = fault_of(found.target)
        assert fault is None or fault.startswith("cannot check: engine"), found.name


@pytest.mark.parametrize(
    ("target", "kind", "hint"),
    [
        (Target("llama-serer"), UnknownEngine, "did you mean llama-server?"),
        (Target("scripted", options={"slotss": "1"}), TargetError, "did you mean slots?"),
        (Target("scripted", options={"slots": "many"}), TargetError, "None"),
        (Target("scripted", options={"slots": "0"}), TargetError, ">= 1"),
        (Target("llama-server", "no/such.gguf"), ModelFileError, "relative to that file"),
        (Target("llama-server", options={"binary": "no-such-program"}), TargetError, "path of the program"),
    ],
)
def test_what_is_wrong_is_said(target: Target, kind: type[TargetError], hint: str) -> None:
    with pytest.raises(kind) as caught:
        check_target(target)
    assert hint in str(caught.value.hint)
    assert str(caught.value) in str(fault_of(target))


def test_a_server_is_not_asked_and_a_name_is_no_file() -> None:
    check_target(Target("ollama", "library/model:8b", "http://127.0.0.1:9"))
    check_target(Target("scripted", "tool-call"))
    assert "no model" not in str(fault_of(Target("openai-sdk", "owner/gpt-4.1")))


def test_an_engine_whose_package_is_missing_cannot_be_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "engine.py").write_text("import no_such_package_at_all\n")
    target = Target("outside.engine", "m")
    with pytest.raises(MissingExtra):
        check_target(target)
    assert fault_of(target) == (
        "cannot check: engine outside.engine needs the package no_such_package_at_all"
        " (pip install no_such_package_at_all)"
    )


@pytest.mark.parametrize("engine", engine_names())
def test_every_option_has_its_meaning(engine: str) -> None:
    rows = option_rows(Target(engine))
    assert [row.name for row in rows] == [field.name for field in msgspec.structs.fields(load(engine).Options)]
    assert all(row.meaning for row in rows), "the table in docs/targets.md has no such row"
    assert all(row.value is None for row in rows)


def test_values_and_defaults() -> None:
    rows = {row.name: row for row in option_rows(Target("llama-cpp", "m", options={"gpu-layers": "3"}))}
    assert (rows["gpu_layers"].value, rows["gpu_layers"].default) == ("3", "-1")
    assert (rows["ctx"].value, rows["ctx"].default) == (None, None)
    assert {row.name: row.default for row in option_rows(Target("scripted"))}["trimmable"] == "on"
