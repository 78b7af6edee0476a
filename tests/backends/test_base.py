"""Targets as typed, finding an adapter, and the tree of errors."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import backends
from backends import base, engine_names, errors, load, missing_extra, open_engine, parse_target
from backends.base import ContextOverflow, EngineError, MissingExtra, Target, TargetError, UnknownEngine


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("scripted:", Target("scripted")),
        ("llama-server:m.gguf", Target("llama-server", "m.gguf")),
        (
            "llama-server:dir/m.gguf?ctx=8192&kv=q8_0",
            Target("llama-server", "dir/m.gguf", None, {"ctx": "8192", "kv": "q8_0"}),
        ),
        ("openai:http://127.0.0.1:1234/v1#qwen3", Target("openai", "qwen3", "http://127.0.0.1:1234/v1")),
        ("openai:https://host/v1/?a=b", Target("openai", None, "https://host/v1", {"a": "b"})),
        ("e:m?a=1&&b=", Target("e", "m", None, {"a": "1", "b": ""})),
        ("e:m?path=a=b", Target("e", "m", None, {"path": "a=b"})),
        ("e:C:\\models\\m.gguf", Target("e", "C:\\models\\m.gguf")),
    ],
)
def test_a_target_is_read_as_typed(text: str, target: Target) -> None:
    assert parse_target(text) == target


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model.gguf", "names no engine"),
        ("dir/model.gguf", "names no engine"),
        ("model.gguf:x", "names no engine"),
        ("", "names no engine"),
        (":m", "names no engine"),
        ("e:m?ctx", "option 'ctx' in target 'e:m?ctx' has no value"),
    ],
)
def test_what_is_no_target_is_said(text: str, message: str) -> None:
    with pytest.raises(TargetError, match=message.replace("?", r"\?")) as caught:
        parse_target(text)
    assert caught.value.hint


PLAIN = st.text(st.characters(categories=["Ll", "Nd"]), min_size=1)


@given(PLAIN, st.none() | PLAIN, st.booleans(), st.dictionaries(PLAIN, PLAIN))
def test_a_target_survives_being_written(engine: str, model: str | None, remote: bool, options: dict[str, str]) -> None:
    target = Target(engine, model, "http://127.0.0.1:80/v1" if remote else None, options)
    assert parse_target(str(target)) == target


def test_every_adapter_file_is_an_engine_with_the_two_names() -> None:
    assert "scripted" in engine_names()
    assert "llama-server" in engine_names()
    assert not {"base", "wire", "options", "gguf-header"} & set(engine_names())
    for name in engine_names():
        assert Path(backends.__file__).with_name(f"{name.replace('-', '_')}.py").is_file()


@pytest.mark.parametrize("name", engine_names())
def test_an_adapter_defines_options_and_open_engine(name: str) -> None:
    module = load(name)
    assert callable(module.open_engine)
    assert module.Options.__struct_config__.frozen


def test_an_unknown_engine_names_the_nearest() -> None:
    with pytest.raises(UnknownEngine) as caught:
        open_engine(Target("lama-server"))
    assert caught.value.hint == "did you mean llama-server?"


def test_an_engine_like_no_other_lists_them_all() -> None:
    with pytest.raises(UnknownEngine) as caught:
        load("zzz")
    assert caught.value.hint == f"engines: {', '.join(engine_names())}"


@pytest.mark.parametrize("name", ["base", "wire", "options", "__init__"])
def test_a_module_that_is_no_adapter_is_no_engine(name: str) -> None:
    with pytest.raises(UnknownEngine):
        load(name)


def write_adapter(folder: Path, name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(folder))


def test_an_adapter_from_outside_is_loaded_by_its_dotted_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "outside_a").mkdir()
    write_adapter(tmp_path / "outside_a", "mine", "def open_engine(target): return [target.model]\n", monkeypatch)
    monkeypatch.syspath_prepend(str(tmp_path))
    opened: object = open_engine(Target("outside_a.mine", "m"))
    assert opened == ["m"]


def test_an_outside_module_that_is_not_there_is_an_unknown_engine() -> None:
    for name in ("no_such_package.engine", "backends.no_such_engine"):
        with pytest.raises(UnknownEngine, match=name.replace(".", r"\.")):
            load(name)


def test_a_missing_library_is_never_an_unknown_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "outside_b").mkdir()
    write_adapter(tmp_path / "outside_b", "needy", "import no_such_library.part\n", monkeypatch)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(MissingExtra, match="needs the package no_such_library") as caught:
        load("outside_b.needy")
    assert caught.value.hint == "pip install no_such_library"


@pytest.mark.parametrize(
    ("package", "command"),
    [
        ("xllamacpp", "pip install 'llmdyno[llama-server]'"),
        ("llama_cpp.llama", "pip install 'llmdyno[llama-cpp]'"),
        ("mlx_lm", "pip install 'llmdyno[mlx]'"),
        ("other", "pip install other"),
    ],
)
def test_a_missing_extra_names_the_command(package: str, command: str) -> None:
    assert missing_extra(package, "e").hint == command


def error_classes() -> dict[str, type[EngineError]]:
    found = inspect.getmembers(base, inspect.isclass)
    return {name: value for name, value in found if issubclass(value, EngineError)}


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    lines = (errors.__doc__ or "").splitlines()
    drawn: dict[str, str] = {}
    parents = {0: "Exception"}
    for line in lines[next(i for i, text in enumerate(lines) if text == "    EngineError") :]:
        if not line.strip():
            break
        stripped = line.lstrip(" │├└─")
        depth = (len(line) - len(stripped)) // 4
        name = stripped.split()[0]
        drawn[name] = parents[depth - 1]
        parents[depth] = name
    assert drawn == {name: value.__bases__[0].__name__ for name, value in error_classes().items()}


@pytest.mark.parametrize("kind", error_classes().values())
def test_every_error_says_one_line_and_has_a_class_docstring(kind: type[EngineError]) -> None:
    error = kind("what")
    assert str(error) == "what"
    assert kind.__doc__
    assert kind is ContextOverflow or error.hint is None
