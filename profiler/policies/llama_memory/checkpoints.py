"""Checkpoints of a prompt: where llama-server takes them, which it drops, and to which one it goes back.

Only caches that cannot be cut back anywhere need them (sliding windows, recurrent states). The rules are those of
`tools/server/server-context.cpp` (`create_checkpoint`, `update_slots`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

import msgspec

from profiler.policies.llama_memory.cells import NOTHING, Memory, Positions

END_OFFSET_TOKENS = 4
"""The last batches of a prompt end this far before its end, and one micro-batch before that."""


class Checkpoint(msgspec.Struct, frozen=True):
    """A copy of what cannot be cut back, taken before token `tokens` was evaluated; `request` numbers who took it."""

    request: int
    tokens: int
    oldest: int
    newest: int
    saved: Positions


class CheckpointRules(msgspec.Struct, frozen=True):
    """How many checkpoints a prompt may have, how far apart, and the sizes of the batches they lie between."""

    most: int
    min_step: int
    batch: int
    ubatch: int


def batches(
    rules: CheckpointRules, start: int, prompt: int, users: Sequence[int], checkpoints: list[Checkpoint]
) -> Iterator[tuple[int, int]]:
    """The batches in which a prompt is evaluated from `start`: full ones, cut where a checkpoint may be taken.

    `users` are the starts of user messages, rising. `checkpoints` is looked at anew for each batch.
    """
    ends = [prompt - min(rules.batch, offset) for offset in (END_OFFSET_TOKENS + rules.ubatch, END_OFFSET_TOKENS)]
    while start < prompt:
        end = min(prompt, start + rules.batch, *(e for e in ends if e > start))
        apart = checkpoints[-1].tokens + rules.min_step if checkpoints else NOTHING
        for user in users[bisect_right(users, start) :]:
            if user >= end:
                break
            if user > apart or user == users[-1]:
                end = user
                break
        yield start, end
        start = end


def wanted(
    rules: CheckpointRules, start: int, end: int, prompt: int, users: Sequence[int], checkpoints: list[Checkpoint]
) -> bool:
    """Whether a checkpoint is taken before the batch `start` to `end`."""
    near_end = prompt < end + rules.ubatch
    if end < prompt and start not in users and not near_end:
        return False
    if not checkpoints or near_end or (bool(users) and start == users[-1]):
        return True
    return start > checkpoints[-1].tokens + rules.min_step


def take(rules: CheckpointRules, checkpoints: list[Checkpoint], new: Checkpoint) -> None:
    """Add a checkpoint, and first drop those that are too close together or too many."""
    if len(checkpoints) + 1 >= rules.most:
        _thin(rules, checkpoints, new.request)
    del checkpoints[: max(0, len(checkpoints) - rules.most + 1)]
    checkpoints[:] = [c for c in checkpoints if c.tokens != new.tokens]
    checkpoints.append(new)


def _thin(rules: CheckpointRules, checkpoints: list[Checkpoint], request: int) -> None:
    """Drop earlier requests' checkpoints that follow another one too closely, until there is room for two."""
    last, at = NOTHING, 0
    while at < len(checkpoints) and len(checkpoints) + 1 >= rules.most:
        found = checkpoints[at]
        if found.request != request and last >= 0 and found.tokens <= last + rules.min_step:
            del checkpoints[at]
            continue
        last = found.tokens
        at += 1


def go_back(
    checkpoints: list[Checkpoint], memory: Memory, sequence: int, reuse: int, *, window: int, whole: bool
) -> tuple[int, str]:
    """How many of `reuse` equal tokens the memory can continue from, if need be from a checkpoint, and what it took.

    `whole`: the prompt has no other tokens, so that the last of them is evaluated again. Checkpoints that lie past the
    place are dropped.
    """
    note = ""
    if reuse > 0:
        needed = max(0, reuse - window - (1 if whole else 0))
        held = memory.oldest(sequence)
        if held >= needed:
            usable = (c for c in reversed(checkpoints) if c.newest <= reuse and (c.oldest < needed or c.oldest == 0))
            found = next(usable, None)
            if found is None:
                note = f"{reuse} tokens matched, but what is held starts at {held} and no checkpoint lies before them"
                reuse = 0
            else:
                memory.restore(sequence, found.saved)
                back = min(reuse, max(found.oldest + 1, found.newest))
                note = f"{reuse} tokens matched, back to the checkpoint at {found.tokens}"
                checkpoints[:] = [c for c in checkpoints if c.newest <= back]
                return min(back, found.tokens), note
    checkpoints[:] = [c for c in checkpoints if c.newest <= reuse]
    return reuse, note
