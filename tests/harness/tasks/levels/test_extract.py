"""Which block of a reply is taken as its code."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.tasks.levels.extract import split_reply

LINE = st.text(
    st.characters(exclude_characters="`~\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029", exclude_categories=["Cs"]),
    max_size=20,
)


def test_a_tagged_block_wins_over_a_longer_one() -> None:
    reply = split_reply("Run it:\n```\npython x.py --and --much --more\n```\nCode:\n```Python\nx = 1\n```\n")
    assert reply.code == "x = 1\n"
    assert reply.block == "the longest of 1 tagged python"
    assert reply.prose == "Run it:\nCode:"


def test_the_longest_of_several_tagged_blocks_is_taken() -> None:
    assert split_reply("```py\na\n```\n```python3\nlonger\n```\n```py\nb\n```").code == "longer\n"


def test_the_longest_block_is_taken_if_none_is_tagged() -> None:
    reply = split_reply("```\nx\n```\n```text\nx = 2\n```\n")
    assert (reply.code, reply.block) == ("x = 2\n", "the longest of 2, untagged")


def test_a_reply_without_a_block_has_no_code() -> None:
    reply = split_reply("def f(): pass\n`inline` only")
    assert (reply.code, reply.block, reply.prose) == (None, "none", "def f(): pass\n`inline` only")


def test_a_block_that_was_cut_is_taken_and_said_to_be() -> None:
    reply = split_reply("So:\n```python\nx = 1\ny =")
    assert (reply.code, reply.closed) == ("x = 1\ny =\n", False)


def test_a_longer_fence_holds_a_shorter_one() -> None:
    assert split_reply('````python\ns = """\n```\n"""\n````\n').code == 's = """\n```\n"""\n'


def test_thoughts_are_left_out() -> None:
    reply = split_reply("<think>\n```python\nlong_draft = 1\n```\nimpossible</think>\nHere:\n```python\nx = 1\n```")
    assert (reply.code, reply.prose.strip()) == ("x = 1\n", "Here:")


@given(st.lists(LINE, max_size=8), st.lists(LINE, max_size=4))
def test_what_stands_in_a_block_comes_back(code: list[str], prose: list[str]) -> None:
    text = "\n".join([*prose, "```python", *code, "```"])
    reply = split_reply(text)
    assert reply.code == "".join(f"{line}\n" for line in code)
    assert reply.prose == "\n".join(prose)


@given(st.text(max_size=200))
def test_any_text_is_taken_apart(text: str) -> None:
    reply = split_reply(text)
    assert (reply.code is None) == (reply.block == "none")
