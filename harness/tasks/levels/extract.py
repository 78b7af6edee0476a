"""Take the code out of a reply in Markdown. Runs nothing.

A task's verifier gets a copy of this file, so that it needs nothing but the standard library.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["Reply", "split_reply"]

_FENCE = re.compile(r"^ {0,3}(?P<fence>`{3,}|~{3,})[ \t]*(?P<language>[\w+#.-]*)[^`]*$")
_THOUGHT = re.compile(r"<think>.*?(</think>|\Z)", re.DOTALL)
_PYTHON = frozenset({"python", "py", "python3"})


class Reply(NamedTuple):
    """A reply in parts. `code` is `None` if it has no block; `block` says which one was taken, and why.

    `closed` is false if the block does not end: the reply was cut. `prose` is everything outside blocks.
    """

    code: str | None
    block: str
    closed: bool
    prose: str


class _Block(NamedTuple):
    language: str
    code: str
    closed: bool


def split_reply(text: str) -> Reply:
    """The longest block that is tagged as Python, or else the longest block; and the prose around the blocks.

    What a model thinks aloud between `<think>` tags counts for neither.
    """
    blocks, prose = _blocks(_THOUGHT.sub("", text))
    tagged = [block for block in blocks if block.language in _PYTHON]
    if not blocks:
        return Reply(None, "none", True, prose)
    taken = max(tagged or blocks, key=lambda block: len(block.code))
    which = (
        f"the longest of {len(tagged)} tagged {taken.language}" if tagged else f"the longest of {len(blocks)}, untagged"
    )
    return Reply(taken.code, which, taken.closed, prose)


def _blocks(text: str) -> tuple[list[_Block], str]:
    blocks: list[_Block] = []
    prose: list[str] = []
    fence, language, code = "", "", list[str]()
    for line in text.splitlines():
        found = _FENCE.match(line)
        if not fence and found:
            fence, language, code = found["fence"], found["language"].lower(), []
        elif not fence:
            prose.append(line)
        elif line.strip() and not line.strip().strip(fence[0]) and len(line.strip()) >= len(fence):
            blocks.append(_Block(language, _joined(code), True))
            fence = ""
        else:
            code.append(line)
    if fence:
        blocks.append(_Block(language, _joined(code), False))
    return blocks, "\n".join(prose)


def _joined(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
