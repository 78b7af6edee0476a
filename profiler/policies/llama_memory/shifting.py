"""`--cache-reuse`: later parts of a held prompt that are equal are moved to their new place instead of evaluated.

The rule is that of `tools/server/server-context.cpp`.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import msgspec

from profiler.ledger import TOKEN_BYTES, common_prefix_tokens


class Run(msgspec.Struct, frozen=True):
    """Equal tokens: where they stand in what is held, where in the prompt, and how many they are."""

    held_at: int
    prompt_at: int
    tokens: int


def shifted_runs(held: bytes, prompt: bytes, matched: int, shortest: int) -> Iterator[Run]:
    """After the `matched` first tokens, each run of at least `shortest` equal ones; in the prompt they join up."""
    old, new = array("i", held), array("i", prompt)
    from_old = from_new = matched
    while from_old < len(old) and from_new < len(new):
        # Almost every place differs in its first token, which is found without comparing blocks.
        try:
            from_old = old.index(new[from_new], from_old)
        except ValueError:
            return
        equal = common_prefix_tokens(held[from_old * TOKEN_BYTES :], prompt[from_new * TOKEN_BYTES :])
        if equal >= shortest:
            yield Run(from_old, from_new, equal)
            from_old += equal
            from_new += equal
        else:
            from_old += 1
