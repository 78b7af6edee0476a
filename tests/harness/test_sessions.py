"""Session files: what is written is read back, what is wrong is named by its line, salt comes first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.sessions import (
    Session,
    SessionError,
    Turn,
    bundled_sessions,
    read_session,
    salted,
    write_session,
)

HEADER = {"schema": 1, "name": "x", "title": "T.", "provokes": "nothing", "side": "none", "seed": 7}
TURN: dict[str, Any] = {
    "conversation": "main",
    "request": {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 8},
    "reply": {"role": "assistant", "content": "hello"},
}

numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
extra_keys = st.dictionaries(st.from_regex(r"x_[a-z]{1,8}", fullmatch=True), json_values, max_size=3)
names = st.text(min_size=1, max_size=20)


@st.composite
def messages(draw: st.DrawFn, roles: tuple[str, ...] = ("system", "user", "assistant", "tool")) -> dict[str, Any]:
    content = draw(st.none() | st.text() | st.just([{"type": "text", "text": "part"}]))
    items = [("role", draw(st.sampled_from(roles))), ("content", content), *draw(extra_keys).items()]
    return dict(draw(st.permutations(items)))


turns = st.builds(
    Turn,
    conversation=names,
    messages=st.lists(messages(), min_size=1, max_size=4).map(tuple),
    tools=st.lists(extra_keys, max_size=2).map(tuple),
    max_tokens=st.integers(1, 10**6),
    parameters=extra_keys,
    reply=messages(("assistant",)),
)
sessions = st.builds(
    Session,
    name=names,
    title=st.text(),
    provokes=st.none() | st.text(),
    side=st.sampled_from([None, "none", "prompt", "engine"]),
    seed=st.none() | st.integers(0, 2**63 - 1),
    turns=st.lists(turns, min_size=1, max_size=3).map(tuple),
)


def with_key_order(value: object) -> str:
    return json.dumps(msgspec.to_builtins(value))


def write_lines(path: Path, *lines: object) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def changed(key: str, value: object) -> dict[str, Any]:
    return {**TURN, "request": {**TURN["request"], key: value}}


def without(mapping: dict[str, Any], key: str) -> dict[str, Any]:
    return {k: v for k, v in mapping.items() if k != key}


@given(session=sessions)
def test_what_is_written_is_read_back_with_its_key_order(
    session: Session, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("session") / "s.jsonl"
    write_session(session, path)
    assert with_key_order(read_session(path)) == with_key_order(session)
    first = path.read_bytes()
    write_session(read_session(path), path)
    assert path.read_bytes() == first


def test_the_remaining_keys_of_the_body_are_the_parameters(tmp_path: Path) -> None:
    line = {**TURN, "request": {"temperature": 0, **TURN["request"], "tools": [{"a": 1}], "top_p": 0.5}}
    turn = read_session(write_lines(tmp_path / "s.jsonl", HEADER, line)).turns[0]
    assert turn.parameters == {"temperature": 0, "top_p": 0.5}
    assert turn.tools == ({"a": 1},)
    assert turn.max_tokens == 8
    assert turn.messages == ({"role": "user", "content": "hi"},)


def test_a_recording_needs_neither_seed_nor_cause(tmp_path: Path) -> None:
    header = {**without(HEADER, "seed"), "provokes": None, "side": None}
    session = read_session(write_lines(tmp_path / "s.jsonl", header, TURN))
    assert (session.seed, session.provokes, session.side) == (None, None, None)


def test_empty_lines_a_byte_order_mark_and_carriage_returns_are_no_errors(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + f"{json.dumps(HEADER)}\r\n\r\n{json.dumps(TURN)}".encode())
    assert len(read_session(path).turns) == 1


def test_line_separators_inside_a_text_do_not_end_the_line(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    text = "a\u2028b\u0085c"
    lines = [HEADER, changed("messages", [{"role": "user", "content": text}])]
    path.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines), encoding="utf-8")
    assert read_session(path).turns[0].messages[0]["content"] == text


PARSED_CALL: dict[str, Any] = {"function": {"name": "f", "arguments": {"path": "a"}}}
BAD_LINES: dict[str, tuple[list[object], int, str]] = {
    "header is a list": ([[1], TURN], 1, "Expected object"),
    "header lacks schema": ([without(HEADER, "schema"), TURN], 1, "schema"),
    "header is a turn": ([TURN, TURN], 1, "schema"),
    "newer schema": ([{**HEADER, "schema": 2}, TURN], 1, "schema 2 is not known"),
    "schema is a text": ([{**HEADER, "schema": "1"}, TURN], 1, "schema '1' is not known"),
    "schema is a boolean": ([{**HEADER, "schema": True}, TURN], 1, "schema"),
    "header lacks name": ([without(HEADER, "name"), TURN], 1, "name"),
    "name is empty": ([{**HEADER, "name": ""}, TURN], 1, "name"),
    "header lacks title": ([without(HEADER, "title"), TURN], 1, "title"),
    "header lacks provokes": ([without(HEADER, "provokes"), TURN], 1, "provokes"),
    "unknown side": ([{**HEADER, "side": "left"}, TURN], 1, "side"),
    "seed is a text": ([{**HEADER, "seed": "7"}, TURN], 1, "seed"),
    "no turns": ([HEADER], 1, "no turns"),
    "second header": ([HEADER, HEADER, TURN], 2, "conversation"),
    "turn is a number": ([HEADER, TURN, 5], 3, "Expected object"),
    "no conversation": ([HEADER, without(TURN, "conversation")], 2, "conversation"),
    "no request": ([HEADER, TURN, without(TURN, "request")], 3, "request"),
    "no reply": ([HEADER, without(TURN, "reply")], 2, "reply"),
    "request is a list": ([HEADER, {**TURN, "request": []}], 2, "$.request"),
    "no messages": ([HEADER, {**TURN, "request": {"max_tokens": 8}}], 2, "messages"),
    "messages are empty": ([HEADER, changed("messages", [])], 2, "$.request.messages"),
    "message is a text": ([HEADER, changed("messages", ["hi"])], 2, "$.request.messages[0]"),
    "message without role": ([HEADER, changed("messages", [{"content": "hi"}])], 2, "role"),
    "unknown role": ([HEADER, changed("messages", [{"role": "robot"}])], 2, "robot"),
    "content is a number": (
        [HEADER, changed("messages", [{"role": "user", "content": 5}])],
        2,
        "$.request.messages[0].content",
    ),
    "arguments are not text": (
        [HEADER, changed("messages", [{"role": "assistant", "tool_calls": [PARSED_CALL]}])],
        2,
        "arguments",
    ),
    "no max_tokens": ([HEADER, {**TURN, "request": without(TURN["request"], "max_tokens")}], 2, "max_tokens"),
    "max_tokens is 0": ([HEADER, changed("max_tokens", 0)], 2, "$.request.max_tokens"),
    "max_tokens is a boolean": ([HEADER, changed("max_tokens", True)], 2, "$.request.max_tokens"),
    "tools are an object": ([HEADER, changed("tools", {})], 2, "$.request.tools"),
    "reply of a user": ([HEADER, {**TURN, "reply": {"role": "user", "content": "hi"}}], 2, "$.reply.role"),
}


@pytest.mark.parametrize(("lines", "line", "says"), BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line_is_named_with_its_number(tmp_path: Path, lines: list[object], line: int, says: str) -> None:
    path = write_lines(tmp_path / "bad.jsonl", *lines)
    with pytest.raises(SessionError) as caught:
        read_session(path)
    error = caught.value
    assert (error.path, error.line) == (path, line)
    assert says in error.message
    assert str(error) == f"{path}:{line}: {error.message}"
    assert "\n" not in str(error)
    assert error.hint


@pytest.mark.parametrize(
    ("second_line", "says"),
    [
        (b"{", "invalid JSON"),
        (json.dumps(TURN).encode()[:60], "invalid JSON"),
        (json.dumps(TURN).encode() + b" {}", "invalid JSON"),
        (b'{"conversation": NaN}', "invalid JSON"),
        (b'{"conversation": "\\ud83d"}', "invalid JSON"),
        (b'{"conversation": 1e999}', "invalid JSON"),
        (b"[" * 100_000, "invalid JSON"),
        (b'{"conversation": "caf\xe9"}', "not UTF-8 at byte 22"),
        (b"\x00", "invalid JSON"),
    ],
)
def test_a_line_that_is_not_json_is_named_with_its_number(tmp_path: Path, second_line: bytes, says: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(json.dumps(HEADER).encode() + b"\n" + second_line + b"\n" + json.dumps(TURN).encode())
    with pytest.raises(SessionError, match=says) as caught:
        read_session(path)
    assert caught.value.line == 2


@pytest.mark.parametrize("content", ["\ufeff{}".encode("utf-16"), b"\x1f\x8b\x08packed", b"\x80"])
def test_other_encodings_and_packed_files_are_not_utf_8(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(content)
    with pytest.raises(SessionError, match="not UTF-8") as caught:
        read_session(path)
    assert caught.value.line == 1


@pytest.mark.parametrize("content", [b"", b"\n", b" \r\n\t\n", b"\xef\xbb\xbf"])
def test_an_empty_file_has_no_line_to_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(content)
    with pytest.raises(SessionError, match="the file is empty") as caught:
        read_session(path)
    assert caught.value.line is None


def test_a_missing_file_and_a_folder_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(SessionError, match="cannot be read") as caught:
            read_session(path)
        assert caught.value.hint


@given(data=st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_session_error(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("session") / "s.jsonl"
    path.write_bytes(data)
    with pytest.raises(SessionError):
        read_session(path)


@given(value=st.dictionaries(st.sampled_from(["conversation", "request", "reply"]), json_values))
def test_no_json_raises_anything_but_a_session_error(value: object, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = write_lines(tmp_path_factory.mktemp("session") / "s.jsonl", HEADER, value)
    with pytest.raises(SessionError) as caught:
        read_session(path)
    assert caught.value.line == 2


def one_turn(*history: dict[str, Any]) -> Turn:
    return Turn("main", history, (), 8, {}, {"role": "assistant", "content": ""})


def salted_messages(*history: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    session = Session("x", "", None, None, None, (one_turn(*history),))
    return salted(session, "salt 1").turns[0].messages


def test_salt_is_the_first_line_of_the_system_message() -> None:
    user = {"role": "user", "content": "hi"}
    assert salted_messages({"role": "system", "content": "Be brief.", "name": "n"}, user) == (
        {"role": "system", "content": "salt 1\nBe brief.", "name": "n"},
        user,
    )
    assert salted_messages({"role": "developer", "content": None}, user)[0]["content"] == "salt 1\n"
    parts = [{"type": "text", "text": "Be brief."}]
    salt_part = {"type": "text", "text": "salt 1\n"}
    assert salted_messages({"role": "system", "content": parts}, user)[0]["content"] == [salt_part, *parts]


def test_a_conversation_that_opens_without_a_system_message_is_given_one() -> None:
    user = {"role": "user", "content": "hi"}
    assert salted_messages(user) == ({"role": "system", "content": "salt 1"}, user)


@pytest.mark.parametrize("session", bundled_sessions(), ids=lambda s: s.name)
def test_salt_changes_nothing_but_the_start_of_each_prompt(session: Session) -> None:
    changed_session = salted(session, "4f2a")
    assert msgspec.structs.replace(changed_session, turns=session.turns) == session
    for old, new in zip(session.turns, changed_session.turns, strict=True):
        assert msgspec.structs.replace(new, messages=old.messages) == old
        assert new.messages[0]["content"] == "4f2a\n" + old.messages[0]["content"]
        assert new.messages[1:] == old.messages[1:]


def test_salt_for_every_request_makes_every_prompt_start_differently() -> None:
    session = next(s for s in bundled_sessions() if s.name == "append-only")
    turns = salted(session, "4f2a", every_request=True).turns
    starts = [turn.messages[0]["content"].split("\n")[0] for turn in turns]
    assert starts == [f"{number} 4f2a" for number in range(1, len(turns) + 1)]


def test_salting_leaves_the_session_itself_alone() -> None:
    session = next(s for s in bundled_sessions() if s.name == "append-only")
    before = with_key_order(session)
    salted(session, "4f2a")
    assert with_key_order(session) == before
