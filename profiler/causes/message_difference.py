"""What changed in the messages of a request, message by message and piece by piece. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Final

from backends.base import JsonObject
from profiler.causes.alignment import Gap, equal_runs, gaps
from profiler.causes.base import Place
from profiler.causes.json_text import objects_of, raw
from profiler.causes.segments import Piece, head_roles, pieces
from profiler.causes.sides import Found, Kind, Side, part_of

__all__ = ["message_changes"]

ALIKE_CHARS: Final = 64
"""Messages of one role that end with so many equal characters are the same one, edited."""

_Pairs = list[tuple[int, int]]


def message_changes(old: Side, new: Side, said: Sequence[str] = ()) -> tuple[list[Found], int]:
    """The differences of all messages but the reply, and the index in the new request at which the reply should stand.

    `said` are texts of the reply, by which it is recognised where the messages before it were replaced.
    """
    pairs = _without_moved(_paired(old.messages, new.messages), old.messages, new.messages)
    found: list[Found] = []
    for i, j in pairs:
        found += _changed_message(old, new, i, j)
    between = gaps([(i, j, 1) for i, j in pairs], len(old.messages), len(new.messages))
    reply_at = pairs[-1][1] + 1 if pairs else 0
    for gap in between:
        if gap.old_end < len(old.messages):
            found.append(_moved(old, new, gap))
            continue
        reply_at = _reply_at(new.messages, gap, said)
        rest = gap._replace(new_end=reply_at)
        if rest.old_end > rest.old_start or rest.new_end > rest.new_start:
            found.append(_moved(old, new, rest))
    return found, reply_at


def _reply_at(messages: Sequence[JsonObject], tail: Gap, said: Sequence[str]) -> int:
    """Where in the tail of the new request the reply stands; before it stands what replaced the tail of the old one."""
    telling = [text for text in said if text.strip()]
    for index in range(tail.new_start, tail.new_end):
        message = messages[index]
        if message.get("role") == "assistant" and any(p.text in s for p in pieces(message) for s in telling):
            return index
    if tail.old_end == tail.old_start:
        return tail.new_start
    last = (i for i in range(tail.new_end - 1, tail.new_start - 1, -1) if messages[i].get("role") == "assistant")
    # Without a reply, the last message is the new request itself, unless it is all that replaced the history.
    return next(last, tail.new_end - 1 if tail.new_end - tail.new_start > 1 else tail.new_end)


def _without_moved(pairs: _Pairs, old: Sequence[JsonObject], new: Sequence[JsonObject]) -> _Pairs:
    """Messages that stood before the reply and now stand behind it were taken out and put in anew (reminders, say)."""
    for gap in gaps([(i, j, 1) for i, j in pairs], len(old), len(new)):
        i, i_end, j, j_end = gap
        behind = (*old[i:], *new[j_end:])
        replied = i == i_end < len(old) and j < j_end and new[j].get("role") == "assistant"
        if replied and all(message.get("role") != "assistant" for message in behind):
            return [pair for pair in pairs if pair[0] < i]
    return pairs


def _paired(old: Sequence[JsonObject], new: Sequence[JsonObject]) -> _Pairs:
    """Messages that stand for each other: equal ones, then ones that are alike, then those at the same place."""
    head = head_roles(list(old))
    pairs: _Pairs = [(i, i) for i in range(head)] if head == head_roles(list(new)) else []
    for pair in (_alike(_same), _alike(_same_words), _alike(_same_call), _at_the_same_place, _alike(_same_end)):
        between = gaps([(i, j, 1) for i, j in pairs], len(old), len(new))
        pairs += [found for gap in between for found in pair(old, new, gap)]
        pairs.sort()
    return pairs


_Pairing = Callable[[Sequence[JsonObject], Sequence[JsonObject], Gap], _Pairs]


def _alike(likeness: Callable[[JsonObject], Hashable]) -> _Pairing:
    """Pair messages by what two of them may share; `None` where a message has nothing of the kind."""

    def pair(old: Sequence[JsonObject], new: Sequence[JsonObject], gap: Gap) -> _Pairs:
        i, i_end, j, j_end = gap
        if i == i_end or j == j_end:
            return []
        ours = [likeness(message) or ("old", n) for n, message in enumerate(old[i:i_end])]
        theirs = [likeness(message) or ("new", n) for n, message in enumerate(new[j:j_end])]
        return [(i + p + n, j + q + n) for p, q, length in equal_runs(ours, theirs) for n in range(length)]

    return pair


def _at_the_same_place(old: Sequence[JsonObject], new: Sequence[JsonObject], gap: Gap) -> _Pairs:
    i, i_end, j, j_end = gap
    count = i_end - i
    ends = i_end == len(old) and j_end == len(new)
    # A history that is shorter than before was not changed message by message.
    if not count or (j_end - j < count if ends else j_end - j != count):
        return []
    if any(old[i + n].get("role") != new[j + n].get("role") for n in range(count)):
        return []
    return [(i + n, j + n) for n in range(count)]


def _same(message: JsonObject) -> Hashable:
    return raw(message)


def _same_words(message: JsonObject) -> Hashable:
    words = tuple((piece.part, piece.text) for piece in pieces(message))
    return (str(message.get("role")), words) if words else None


def _same_call(message: JsonObject) -> Hashable:
    answered = message.get("tool_call_id")
    if isinstance(answered, str) and answered:
        return "answer", answered
    ids = [str(call["id"]) for call in objects_of(message.get("tool_calls")) if call.get("id")]
    return ("calls", *ids) if ids else None


def _same_end(message: JsonObject) -> Hashable:
    words = "\n".join(piece.text for piece in pieces(message))
    return (str(message.get("role")), words[-ALIKE_CHARS:]) if len(words) >= ALIKE_CHARS else None


def _changed_message(old: Side, new: Side, i: int, j: int) -> Iterator[Found]:
    """The pieces of a message that differ, each by itself; the whole message if none of them does."""
    ours, theirs = old.messages[i], new.messages[j]
    if raw(ours) == raw(theirs):
        return
    before, after = list(pieces(ours)), list(pieces(theirs))
    runs = equal_runs([(p.part, p.text) for p in before], [(p.part, p.text) for p in after])
    differing = gaps(runs, len(before), len(after))
    for gap in differing:
        left, right = before[gap.old_start : gap.old_end], after[gap.new_start : gap.new_end]
        for n in range(max(len(left), len(right))):
            was, now = left[n] if n < len(left) else None, right[n] if n < len(right) else None
            if was and now and was.part != now.part:
                yield _changed_piece(old, i, was, None)
                was = None
            yield _changed_piece(old, i, was, now)
    if not differing:
        start, end = _room(old, i)
        place = Place(part_of(ours), i, f"messages[{i}]")
        yield Found("changed", place, start, end, raw(ours), raw(theirs), whole=True)


def _changed_piece(old: Side, i: int, was: Piece | None, now: Piece | None) -> Found:
    piece = was or now
    assert piece is not None
    span = old.span(i)
    start, end = (span.place_of(was.path) if span and was else None) or _room(old, i)
    place = Place(piece.part, i, f"messages[{i}].{piece.path}")
    kind: Kind = "changed" if was and now else "removed" if was else "inserted"
    return Found(
        kind, place, start, end, was.text if was else "", now.text if now else "",
        whole=piece.part == "assistant_tool_call" or not piece.shown, shown=piece.shown,
    )  # fmt: skip


def _room(old: Side, i: int) -> tuple[int | None, int | None]:
    """Between what can a message lie whose own place is not known: its span, up to what follows."""
    span = old.span(i)
    if span is None:
        return (None, None)
    follows = old.begin(i + 1)
    return span.start, follows if follows is not None else len(old.text)


def _moved(old: Side, new: Side, gap: Gap) -> Found:
    """A block of messages that was taken out, put in, or replaced by another."""
    i, q, j, r = gap
    kind: Kind = "changed" if q > i and r > j else "removed" if q > i else "inserted"
    first, count = (i, q - i) if q > i else (j, r - j)
    path = f"messages[{first}]" if count == 1 and kind != "changed" else f"messages[{first}:{first + count}]"
    part = part_of(old.messages[i] if q > i else new.messages[j])
    # Messages are meant, not the reasoning that the first of them begins with.
    part = "assistant_content" if part == "assistant_reasoning" else part
    before = "\n".join(map(raw, old.messages[i:q]))
    after = "\n".join(map(raw, new.messages[j:r]))
    start, end = (
        _room(old, i) if i < len(old.messages) else (len(old.text), len(old.text)) if old.text else (None, None)
    )
    if q > i and old.text:
        follows = old.begin(q)
        end = follows if follows is not None else len(old.text)
    return Found(kind, Place(part, first, path), start, end, before, after, whole=True)
