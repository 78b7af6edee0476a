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
    Where the engine shows no prompts, L is `None`, and prev is known for continuations alone, from the engine's counts.
    `continuation`: the conversation has been here before.
    `exact` is False if L is a lower bound: the prompt holds a whole sequence whose generated ids are not known.
    `unknown_tokens` is the part of prev whose ids are not known.
    """

    lcp_tokens: int | None
    prev_tokens: int | None
    continuation: bool
    exact: bool = True
    unknown_tokens: int = 0


class _Sequence(msgspec.Struct, frozen=True):
    conversation: str
    data: bytes
    complete: bool
    unknown_tokens: int = 0

    @property
    def length_tokens(self) -> int:
        return len(self.data) // TOKEN_BYTES + self.unknown_tokens


class Ledger:
    """Sequences (prompt and generated ids) of one engine, by conversation.

    A sequence that a later one of the same conversation extends can never match better than it, so only the later is
    kept: append-only conversations cost one sequence each, however long they run. Of a conversation whose ids are not
    known, the length alone is kept.
    """

    def __init__(self) -> None:
        self._sequences: list[_Sequence] = []
        self._lengths: dict[str, int | None] = {}

    @property
    def held_bytes(self) -> int:
        """Memory that the kept sequences take."""
        return sum(len(sequence.data) for sequence in self._sequences)

    def new_epoch(self) -> None:
        """Forget everything: the engine was reloaded or its cache was emptied."""
        self._sequences.clear()
        self._lengths.clear()

    def match(self, conversation: str, prompt: array[int] | None) -> Match:
        """Compare a prompt with every earlier sequence. Ties go to the latest."""
        continuation = conversation in self._lengths
        if prompt is None:
            return Match(None, self._lengths.get(conversation), continuation)
        data = prompt.tobytes()
        best_tokens = best_length = 0
        best_unknown = previous_unknown = 0
        previous: int | None = None
        exact = True
        for sequence in self._sequences:
            length = len(sequence.data) // TOKEN_BYTES
            shared = common_prefix_tokens(data, sequence.data)
            if shared >= best_tokens:
                best_tokens, best_length, best_unknown = shared, sequence.length_tokens, sequence.unknown_tokens
            if sequence.conversation == conversation:
                previous, previous_unknown = sequence.length_tokens, sequence.unknown_tokens
            exact &= sequence.complete or shared < length
        return Match(
            lcp_tokens=best_tokens,
            prev_tokens=previous if previous is not None else best_length,
            continuation=continuation,
            exact=exact,
            unknown_tokens=previous_unknown if previous is not None else best_unknown,
        )

    def add(
        self,
        conversation: str,
        sequence: array[int] | None,
        *,
        complete: bool = True,
        length_tokens: int | None = None,
        unknown_tokens: int = 0,
    ) -> None:
        """Note that the engine now has held this sequence (prompt and generated ids), or one that is not known.

        `complete` is False if ids were generated after it that are not known; `unknown_tokens` of them belong to the
        conversation, which will go on with what was generated. `length_tokens` is the length of a sequence that is not
        known, `None` where that is not known either.
        """
        self._lengths[conversation] = length_tokens if sequence is None else len(sequence)
        if sequence is None:
            return
        data = sequence.tobytes()
        self._sequences = [
            old for old in self._sequences if old.conversation != conversation or not data.startswith(old.data)
        ]
        self._sequences.append(_Sequence(conversation, data, complete, unknown_tokens))


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
