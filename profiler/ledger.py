"""The ledger: every token sequence that the engine has held in this load epoch, and how much of a new prompt they
share.

It answers one question, «what could have been reused if the cache forgot nothing?». What the engine did reuse is its
own evidence; `profiler.verdict` puts the two beside each other.
"""

from __future__ import annotations

from array import array

import msgspec

TOKEN_BYTES = array("i").itemsize


class Match(msgspec.Struct, frozen=True):
    """How a prompt stands to the earlier sequences of its epoch; all in tokens.

    `lcp_tokens` (L) is the longest common prefix with any of them, 0 if there is none. `prev_tokens` is the length of
    the sequence that the prompt continues: the last one of its conversation, or for a new conversation the best match.
    Both are `None` where the engine cannot render the prompt. `continuation`: the conversation has been here before.
    `exact` is False if L is a lower bound: the prompt holds a whole sequence whose generated ids are not known.
    """

    lcp_tokens: int | None
    prev_tokens: int | None
    continuation: bool
    exact: bool = True


class _Sequence(msgspec.Struct, frozen=True):
    conversation: str
    data: bytes
    complete: bool


class Ledger:
    """Sequences (prompt and generated ids) of one engine, by conversation.

    A sequence that a later one of the same conversation extends can never match better than it, so only the later is
    kept: append-only conversations cost one sequence each, however long they run.
    """

    def __init__(self) -> None:
        self._sequences: list[_Sequence] = []
        self._conversations: set[str] = set()

    @property
    def held_bytes(self) -> int:
        """Memory that the kept sequences take."""
        return sum(len(sequence.data) for sequence in self._sequences)

    def new_epoch(self) -> None:
        """Forget everything: the engine was reloaded or its cache was emptied."""
        self._sequences.clear()
        self._conversations.clear()

    def match(self, conversation: str, prompt: array[int] | None) -> Match:
        """Compare a prompt with every earlier sequence. Ties go to the latest."""
        continuation = conversation in self._conversations
        if prompt is None:
            return Match(None, None, continuation)
        data = prompt.tobytes()
        best_tokens = best_length = 0
        previous: int | None = None
        exact = True
        for sequence in self._sequences:
            length = len(sequence.data) // TOKEN_BYTES
            shared = common_prefix_tokens(data, sequence.data)
            if shared >= best_tokens:
                best_tokens, best_length = shared, length
            if sequence.conversation == conversation:
                previous = length
            exact &= sequence.complete or shared < length
        return Match(
            lcp_tokens=best_tokens,
            prev_tokens=previous if previous is not None else best_length,
            continuation=continuation,
            exact=exact,
        )

    def add(self, conversation: str, sequence: array[int] | None, *, complete: bool = True) -> None:
        """Note that the engine now has held this sequence (prompt and generated ids), or one that is not known.

        `complete` is False if ids were generated after it that are not known.
        """
        self._conversations.add(conversation)
        if sequence is None:
            return
        data = sequence.tobytes()
        self._sequences = [
            old for old in self._sequences if old.conversation != conversation or not data.startswith(old.data)
        ]
        self._sequences.append(_Sequence(conversation, data, complete))


def common_prefix_tokens(a: bytes, b: bytes) -> int:
    """Length in tokens of the common prefix of two int32 sequences given as bytes.

    Doubles the compared block while it is equal, then halves into the differing one: the comparison itself is memcmp.
    """
    end = min(len(a), len(b)) // TOKEN_BYTES
    same, step = 0, 1024
    while same < end:
        upto = min(same + step, end)
        if a[same * TOKEN_BYTES : upto * TOKEN_BYTES] == b[same * TOKEN_BYTES : upto * TOKEN_BYTES]:
            same, step = upto, step * 2
        elif upto - same == 1:
            break
        else:
            step = (upto - same) // 2
    return same
