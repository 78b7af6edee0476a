"""The marks that models and templates put around reasoning. Pure; data and two questions.

Sources: the chat templates and parsers of llama.cpp (`common/chat.cpp`, `models/templates/`): `<think>` (DeepSeek,
Qwen, GLM and most others), harmony's analysis channel (gpt-oss), `[THINK]` (Magistral), `<|channel>thought` (Gemma 4),
`<seed:think>` (Seed-OSS), `<mm:think>` (MiniMax M3), `<|START_THINKING|>` (Command R7B), `<|inner_prefix|>` (Apertus),
`◁think▷` (Kimi-VL).
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["empty_reasoning", "opens_reasoning"]

_MARK: Final = re.compile(
    r"</?(?:\w+:)?(?:think|thinking|thought|reasoning)>|<\|channel\|>analysis|<\|?channel\|?>thought|\[/?THINK\]|"
    r"<\|(?:START|END)_THINKING\|>|<\|inner_(?:prefix|suffix)\|>|◁/?think▷|<\|begin_of_thought\|>"
)
_EMPTY: Final = re.compile(r"<think>\s*</think>|<\|channel>thought\s*<channel\|>|\[THINK\]\s*\[/THINK\]")


def opens_reasoning(old: str, new: str) -> bool:
    """Whether the old side holds more reasoning than the new one: more marks, or something between them."""
    ours = sum(1 for _ in _MARK.finditer(old))
    theirs = sum(1 for _ in _MARK.finditer(new))
    return ours > 0 and (ours > theirs or (empty_reasoning(new) and not empty_reasoning(old)))


def empty_reasoning(text: str) -> bool:
    """Whether reasoning is opened and closed again with nothing in it."""
    return _EMPTY.search(text) is not None
