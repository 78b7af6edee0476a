"""What changed between a request and the one that continues it, and where. Pure, near-linear in both.

The rendered prompts say what really changed, exactly, in characters and in tokens; the requests say what it is called.
So each change of the text gets the name of the difference between the requests that lies there. A difference that
shows nowhere in the text cost nothing and is left out; a change that no difference explains was made by the template,
or by something behind it. The reply of the earlier request counts as its last message, as it was generated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from profiler.causes.alignment import Gap
from profiler.causes.base import Change, Place, Step
from profiler.causes.excerpts import excerpt, lead, window
from profiler.causes.message_difference import message_changes
from profiler.causes.reasoning_marks import opens_reasoning
from profiler.causes.reply_difference import (
    named_reply_change,
    parsed_reply_changes,
    place_in,
    removed_reply,
    reply_tokens,
)
from profiler.causes.sides import Found, Side, generated_text
from profiler.causes.text_difference import Hunk, kind_of_hunk, text_hunks, token_gaps
from profiler.causes.token_places import Placed, Scale, place_hunks
from profiler.causes.tool_difference import tool_changes
from profiler.rendered import Rendered

__all__ = ["MAX_CHANGES", "changes"]

MAX_CHANGES: Final = 64
SEARCHED: Final = 256
TELLING_CHARS: Final = 40
MERGED_TOKENS: Final = 2
"""The last tokens of a prompt may be others once a reply stands behind them."""
SLACK_CHARS: Final = 2
"""Where equal characters stand at the edge of a change, a difference may begin so much earlier or later."""


class _Named(NamedTuple):
    """A difference of the requests with the changes of the text that show it."""

    found: Found
    hunks: tuple[Placed, ...]


def changes(previous: Step, step: Step) -> tuple[Change, ...]:
    """The differences of `step` from `previous` and its reply, in prompt order; empty where it extends them.

    At most `MAX_CHANGES`; the last one then stands for all that follow.
    """
    generated = generated_text(previous)
    lost_reply = previous.rendered is not None and not previous.rendered.generated_ids
    # A reply of which no token is known is in no sequence that a cache could have kept.
    old, new = Side.of(previous, "" if lost_reply or generated is None else generated), Side.of(step)
    said = [generated] if generated is not None else list(previous.record.reply.text.values())
    found, reply_at = message_changes(old, new, said)
    found = [*tool_changes(old, new), *found]
    answered = reply_at < len(new.messages) and new.messages[reply_at].get("role") == "assistant"
    parsed: list[Found] = []
    if not answered:
        found += removed_reply(previous, generated, old)
    elif generated is None or lost_reply:
        parsed += parsed_reply_changes(previous, new, reply_at)
    if previous.rendered is None or step.rendered is None:
        return tuple(_unplaced(f) for f in [*found, *parsed][:MAX_CHANGES])

    follows = new.begin(reply_at + answered)
    hunks = _together(text_hunks(old.text, new.text if follows is None else new.text[:follows]))
    gaps = token_gaps(previous.rendered.sequence, step.rendered.token_ids)
    unseen = _unseen_reply(previous, step, gaps) if answered and lost_reply else None
    scale = Scale.of(previous.rendered, step.rendered, len(old.text))
    placed = place_hunks(hunks, gaps, scale)
    named = _named(found, placed, old, new, _Reply(generated, reply_at, tuple(parsed)) if answered else None)
    changed = [_change(name, old, new) for name in named]
    changed += [
        msgspec.structs.replace(_unplaced(f), token=scale.token_of(f.start or 0))
        for f in found
        if not f.shown and all(name.found is not f for name in named)
    ]
    if unseen is not None:
        changed += reply_tokens(previous, new, reply_at, parsed, [unseen])
    elif answered and generated is None:
        changed += reply_tokens(previous, new, reply_at, parsed, gaps)
    changed += _same_text(placed, gaps, old, previous.rendered) if generated is not None or not answered else ()
    return tuple(sorted(changed, key=lambda change: change.token)[:MAX_CHANGES])


def _unseen_reply(previous: Step, step: Step, gaps: Sequence[Gap]) -> Gap | None:
    """The part of a reply that came back otherwise than it was generated, where its ids are not known: by what the
    engine reused of it (`profiler.verdict`), and only if nothing before it changed.
    """
    lcp, prev = step.record.verdict.lcp_tokens, step.record.verdict.prev_tokens
    if previous.rendered is None or lcp is None or prev is None:
        return None
    known = len(previous.rendered.sequence) - MERGED_TOKENS
    if any(gap.old_start < known for gap in gaps) or not known <= lcp < prev:
        return None
    return Gap(lcp, prev, lcp, prev)


class _Reply(NamedTuple):
    """The message that stands for the reply: the text that was generated, or what the parts of it became."""

    generated: str | None
    message: int
    parsed: tuple[Found, ...]


def _together(hunks: Sequence[Hunk]) -> list[Hunk]:
    """No more hunks than are shown: the last one goes to the end."""
    if len(hunks) <= MAX_CHANGES:
        return list(hunks)
    first, last = hunks[MAX_CHANGES - 1], hunks[-1]
    rest = msgspec.structs.replace(first, end=last.end, new_end=last.new_end)
    return [*hunks[: MAX_CHANGES - 1], rest]


def _named(
    found: Sequence[Found], placed: Sequence[Placed], old: Side, new: Side, reply: _Reply | None
) -> list[_Named]:
    """Every change of the text with its name; those of one thing that is looked at as a whole come together."""
    named: list[_Named] = []
    at: dict[int, int] = {}
    for one in placed:
        owner = _owner(found, one.hunk, old)
        if owner is None:
            named.append(_Named(_unseen(one.hunk, old, new, reply), (one,)))
        elif not found[owner].whole:
            named.append(_Named(_line_of(found[owner], one.hunk), (one,)))
        elif owner in at:
            before = named[at[owner]]
            named[at[owner]] = before._replace(hunks=(*before.hunks, one))
        else:
            at[owner] = len(named)
            named.append(_Named(found[owner], (one,)))
    return named


def _owner(found: Sequence[Found], hunk: Hunk, old: Side) -> int | None:
    """Which difference of the requests a change of the text shows: the narrowest one that it lies in."""
    around = [
        (f.end - f.start, index)
        for index, f in enumerate(found)
        if f.start is not None and f.end is not None
        and hunk.start <= f.end + SLACK_CHARS and hunk.end >= f.start - SLACK_CHARS
    ]  # fmt: skip
    text = hunk.old + hunk.new
    tools = (i for i, f in enumerate(found) if f.names and any(name in text for name in f.names))
    tool = next(tools, None)
    if tool is None and not around and hunk.start < (old.begin(1) or len(old.text)):
        # A change inside a schema that is written over many lines names no tool.
        tool = next((i for i, f in enumerate(found) if f.names and _json_like(text)), None)
    narrow = min(around)[1] if around else None
    located = narrow is not None and any(
        start <= hunk.start <= end for span in old.spans for start, end, _ in span.found
    )
    if located or (tool is None and narrow is not None):
        return narrow
    return tool if tool is not None else _by_words(found, hunk)


def _by_words(found: Sequence[Found], hunk: Hunk) -> int | None:
    """The difference that a change says, where a template writes messages in another order than they come."""
    pieces = ((i, f) for i, f in enumerate(found[:SEARCHED]) if not f.whole and f.old)
    return next((i for i, f in pieces if f.old[:TELLING_CHARS] in hunk.old and f.new[:TELLING_CHARS] in hunk.new), None)


def _json_like(text: str) -> bool:
    return '":' in text or '"type"' in text


def _line_of(found: Found, hunk: Hunk) -> Found:
    """The part of a difference that one change of the text shows."""
    kind = found.kind
    if kind == "changed":
        kind = kind_of_hunk(hunk)
    return msgspec.structs.replace(found, kind=kind, old=hunk.old, new=hunk.new)


def _unseen(hunk: Hunk, old: Side, new: Side, reply: _Reply | None) -> Found:
    """A change of the text where the requests are the same: in the reply, or by the template."""
    behind = old.spans[-1].end if old.spans else 0
    if reply is not None and hunk.start >= behind - SLACK_CHARS:
        if reply.generated is not None:
            return named_reply_change(reply.generated, new, reply.message, hunk)
        thought = next((f for f in reply.parsed if f.place.part == "assistant_reasoning"), None)
        if thought is not None and opens_reasoning(hunk.old, hunk.new):
            return thought
    index = next((i for i, span in enumerate(old.spans) if span.start <= hunk.start < span.end), None)
    message = old.messages[index] if index is not None else {}
    span = old.spans[index] if index is not None else None
    piece = span.piece_at(hunk.start) if span is not None else None
    if piece is None and message.get("role") == "assistant":
        piece = place_in(message, span, hunk.start)
    part = piece.part if piece is not None else "glue"
    path = "prompt" if index is None or piece is None else f"messages[{index}].{piece.path}"
    if opens_reasoning(hunk.old, hunk.new) and part != "system" and index is not None:
        part, path = "assistant_reasoning", f"messages[{index}]"
    return Found(
        kind_of_hunk(hunk), Place(part, index, path), hunk.start, hunk.end, hunk.old, hunk.new, in_request=False
    )


def _change(named: _Named, old: Side, new: Side) -> Change:
    found, hunks = named
    first = hunks[0] if hunks else None
    char = first.hunk.start if first is not None else found.start or 0
    old_whole, new_whole = window(found.old, found.new)
    was, now = found.old, found.new
    if first is not None:
        was, now = old.text[char:], new.text[first.hunk.new_start :]
    return Change(
        kind=found.kind,
        place=found.place,
        token=first.token if first is not None else 0,
        before=lead(old.text, char),
        old=excerpt(was),
        new=excerpt(now),
        old_whole=old_whole,
        new_whole=new_whole,
        shrunk_tokens=sum(one.shrunk_tokens for one in hunks),
        in_request=found.in_request,
    )


def _unplaced(found: Found) -> Change:
    old_whole, new_whole = window(found.old, found.new)
    same = next((i for i, (a, b) in enumerate(zip(found.old, found.new, strict=False)) if a != b), None)
    same = min(len(found.old), len(found.new)) if same is None else same
    return Change(
        found.kind, found.place, 0, lead(found.old, same), excerpt(found.old[same:]), excerpt(found.new[same:]),
        old_whole, new_whole, 0, found.in_request,
    )  # fmt: skip


def _same_text(placed: Sequence[Placed], gaps: Sequence[Gap], old: Side, rendered: Rendered) -> Iterator[Change]:
    """Other tokens for the same text, where they come before every change of it."""
    known = next((one.gap for one in placed if one.gap is not None), None)
    if not gaps or (placed and not known):
        return
    gap = gaps[0]
    in_prompt = gap.old_start < len(rendered.token_ids)
    if in_prompt:
        char = round(len(rendered.text) * gap.old_start / max(1, len(rendered.token_ids)))
    else:
        share = (gap.old_start - len(rendered.token_ids)) / max(1, len(rendered.sequence) - len(rendered.token_ids))
        char = round(len(rendered.text) + share * (len(old.text) - len(rendered.text)))
    index = next((i for i, span in enumerate(old.spans) if span.start <= char < span.end), None)
    reply = len(old.messages)
    place = Place("glue", index, "prompt") if in_prompt else Place("assistant_content", reply, f"messages[{reply}]")
    text = excerpt(old.text[char:])
    mine = gaps[:known] if known is not None else gaps
    shrunk = sum(
        g.old_end - g.old_start - (g.new_end - g.new_start) for g in mine if g.old_end < len(rendered.sequence)
    )
    yield Change(
        "retokenised", place, gap.old_start, lead(old.text, char), text, text, shrunk_tokens=shrunk, in_request=False
    )
