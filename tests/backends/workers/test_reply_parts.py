"""The parts of a streamed reply do not depend on how it was cut into pieces, and nothing but tags is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base import DeltaKind
from backends.workers.reply_parts import ReplySplitter, opens_reasoning


def split(pieces: list[str], *, in_reasoning: bool = False) -> list[tuple[DeltaKind, str]]:
    """All parts of a reply, neighbours of one kind joined."""
    splitter = ReplySplitter(in_reasoning=in_reasoning)
    joined: list[tuple[DeltaKind, str]] = []
    for kind, text in [part for piece in pieces for part in splitter.push(piece)] + splitter.finish():
        assert text
        if joined and joined[-1][0] == kind:
            text = joined.pop()[1] + text
        joined.append((kind, text))
    return joined


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", []),
        ("plain < text >", [("content", "plain < text >")]),
        ("<think>a</think>b", [("reasoning", "a"), ("content", "b")]),
        (
            'x<tool_call>\n{"n": 1}\n</tool_call>\n<tool_call>{}</tool_call>',
            [("content", "x"), ("tool_call", '\n{"n": 1}\n'), ("content", "\n"), ("tool_call", "{}")],
        ),
        ("<think>a<tool_call>b</think>", [("reasoning", "a<tool_call>b")]),
        ("<tool_call>cut", [("tool_call", "cut")]),
        ("a</think>b<thin", [("content", "a</think>b<thin")]),
        ("<<think>a</thin</think>", [("content", "<"), ("reasoning", "a</thin")]),
    ],
)
def test_a_reply_is_split_by_its_tags(text: str, parts: list[tuple[DeltaKind, str]]) -> None:
    assert split([text]) == parts
    assert split(list(text)) == parts


def test_a_reply_may_begin_inside_reasoning() -> None:
    assert split(["why</think>so"], in_reasoning=True) == [("reasoning", "why"), ("content", "so")]
    assert opens_reasoning("<|im_start|>assistant\n<think>\n")
    assert not opens_reasoning("<think>\n</think>\n\n")


def test_text_that_is_no_tag_is_not_held_back() -> None:
    assert ReplySplitter().push("hello") == [("content", "hello")]
    assert ReplySplitter().push("a <") == [("content", "a ")]


@given(
    st.lists(st.sampled_from(["<think>", "</think>", "<tool_call>", "</tool_call>", "<", "th", "é", "x\n"])),
    st.data(),
)
def test_the_cuts_do_not_matter(words: list[str], data: st.DataObject) -> None:
    text = "".join(words)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert split(pieces) == split([text])
