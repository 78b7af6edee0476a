"""Messages are found in text and ids without a tokenizer, and matched with the roles of the request."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends import open_engine
from backends.base import JsonObject, Request, Target
from profiler.policies.base import Message, Role
from profiler.policies.messages import Opening, find_opening, messages_of

CHATML = r"<\|im_start\|>(\w+)"


def rendered(*messages: JsonObject, tools: tuple[JsonObject, ...] = ()) -> tuple[str, array[int]]:
    prompt = open_engine(Target("scripted")).render(Request(messages, tools))
    assert prompt is not None
    return prompt.text, prompt.token_ids


def message(role: str, text: str) -> JsonObject:
    return {"role": role, "content": text}


def found(text: str, ids: array[int], *roles: Role) -> tuple[Message, ...]:
    return messages_of(text, ids, find_opening([(text, ids)]), roles)


def test_each_message_starts_at_its_marker() -> None:
    text, ids = rendered(message("system", "be brief"), message("user", "hello there"), message("user", "again"))
    messages = found(text, ids, "system", "user", "user")
    marker = ids[0]
    assert [m.start for m in messages] == [at for at, token in enumerate(ids) if token == marker][:-1]
    assert [m.role for m in messages] == [m.sent_as for m in messages] == ["system", "user", "user"]


def test_answers_of_tools_are_users_in_the_text_and_tools_in_the_request() -> None:
    text, ids = rendered(message("user", "go"), message("assistant", "on it"), message("tool", "42"))
    assert [(m.role, m.sent_as) for m in found(text, ids, "user", "assistant", "tool")] == [
        ("user", "user"),
        ("assistant", "assistant"),
        ("user", "tool"),
    ]


def test_a_system_message_that_the_template_added_is_nobodys() -> None:
    text, ids = rendered(message("user", "go"), tools=({"name": "read"},))
    messages = found(text, ids, "user")
    assert [(m.role, m.sent_as) for m in messages] == [("user", "user")]
    assert messages[0].start > 0


def test_answers_of_tools_in_one_block_share_its_start() -> None:
    text = "<|im_start|>user\ngo<|im_start|>assistant\nyes<|im_start|>user\n1 2<|im_start|>assistant\n"
    ids = array("i", [7, 1, 7, 2, 3, 7, 4, 5, 6, 7, 8])
    roles: tuple[Role, ...] = ("user", "assistant", "tool", "tool")
    starts = [(m.start, m.sent_as) for m in messages_of(text, ids, Opening(CHATML, 7), roles)]
    assert starts == [(0, "user"), (2, "assistant"), (5, "tool"), (5, "tool")]


def test_a_token_before_the_text_does_not_hide_the_marker() -> None:
    text, ids = rendered(message("user", "hello"))
    opening = find_opening([(text, array("i", [3, *ids]))])
    assert opening == Opening(CHATML, ids[0])


@pytest.mark.parametrize("text", ["", "no markers here", "[INST] old [/INST]"])
def test_other_templates_have_no_messages(text: str) -> None:
    assert find_opening([(text, array("i", [1, 2, 3]))]) is None
    assert messages_of(text, array("i", [1, 2, 3]), None) == ()


def test_text_and_ids_that_do_not_fit_give_no_messages() -> None:
    assert messages_of("<|im_start|>user\nhi", array("i", [7, 1, 7]), Opening(CHATML, 7)) == ()


@given(st.lists(st.sampled_from(["system", "user", "assistant", "tool"]), min_size=1, max_size=8), st.data())
def test_there_are_never_more_messages_than_were_sent(roles: list[Role], data: st.DataObject) -> None:
    texts = [data.draw(st.text(alphabet="ab <|im_start>\n", max_size=20)) for _ in roles]
    text, ids = rendered(*(message(role, body) for role, body in zip(roles, texts, strict=True)))
    messages = found(text, ids, *roles)
    assert [m.start for m in messages] == sorted(m.start for m in messages)
    assert all(0 <= m.start < len(ids) for m in messages)
    if "<|im_start|>" not in "".join(texts):
        assert len(messages) <= len(roles)
