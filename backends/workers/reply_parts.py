"""Split a reply into reasoning, content and tool calls while it streams. Pure; it knows tags, not models.

The tags are those of the Qwen, DeepSeek and Hermes families: `<think>…</think>` and
`<tool_call>…</tool_call>`. Tags themselves are left out; what stands between them is passed on as it is. A
tag without its partner is text or runs to the end.
"""

from __future__ import annotations

from backends.base import DeltaKind

Part = tuple[DeltaKind, str]

_OPENING: dict[str, DeltaKind] = {"<think>": "reasoning", "<tool_call>": "tool_call"}
_CLOSING: dict[DeltaKind, str] = {"reasoning": "</think>", "tool_call": "</tool_call>"}


class ReplySplitter:
    """Feed it text as it comes; it gives back parts as soon as their kind is certain.

    A text that may be the beginning of a tag is held back until the next piece decides, or `finish`.
    """

    def __init__(self, *, in_reasoning: bool = False) -> None:
        self._kind: DeltaKind = "reasoning" if in_reasoning else "content"
        self._held = ""

    def push(self, text: str) -> list[Part]:
        """The parts that are certain after this piece of text."""
        parts: list[Part] = []
        self._held += text
        while True:
            tags = self._tags()
            found = [(at, tag) for tag in tags if (at := self._held.find(tag)) >= 0]
            if not found:
                break
            at, tag = min(found)
            self._emit(parts, self._held[:at])
            self._held = self._held[at + len(tag) :]
            self._kind = tags[tag]
        certain = len(self._held) - _tag_start_at_end(self._held, tuple(self._tags()))
        self._emit(parts, self._held[:certain])
        self._held = self._held[certain:]
        return parts

    def finish(self) -> list[Part]:
        """What was held back at the end of the reply: no tag after all."""
        parts: list[Part] = []
        self._emit(parts, self._held)
        self._held = ""
        return parts

    def _tags(self) -> dict[str, DeltaKind]:
        """The tags that mean something here, with the kind that follows each."""
        closing = _CLOSING.get(self._kind)
        return _OPENING if closing is None else {closing: "content"}

    def _emit(self, parts: list[Part], text: str) -> None:
        if text:
            parts.append((self._kind, text))


def opens_reasoning(prompt: str) -> bool:
    """Whether a prompt ends inside a reasoning block, which some templates open for the model to fill."""
    return prompt.rstrip().endswith("<think>")


def _tag_start_at_end(text: str, tags: tuple[str, ...]) -> int:
    """Length of the longest end of `text` that begins one of the tags."""
    longest = max(map(len, tags)) - 1
    for length in range(min(longest, len(text)), 0, -1):
        if any(tag.startswith(text[-length:]) for tag in tags):
            return length
    return 0
