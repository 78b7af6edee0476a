"""What became of the reply that was generated, in the message that stands for it in the next request. Pure.

A reply whose text is known with its marks is part of the rendered text, and its changes are found there; here they get
their names. Of a reply that the server took apart (reasoning, content, tool calls) only the parts can be compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from backends.base import DeltaKind, JsonObject
from profiler.causes.alignment import Gap
from profiler.causes.base import Change, Part, Place, Step
from profiler.causes.excerpts import excerpt, lead, window
from profiler.causes.reasoning_marks import opens_reasoning
from profiler.causes.segments import Piece, Span, pieces
from profiler.causes.sides import Found, Kind, Side
from profiler.causes.text_difference import Hunk, common_prefix, kind_of_hunk
from profiler.rendered import Rendered

__all__ = ["named_reply_change", "parsed_reply_changes", "place_in", "removed_reply", "reply_tokens"]

_PARTS: Final[tuple[tuple[str, Part], ...]] = (
    ("reasoning", "assistant_reasoning"), ("content", "assistant_content"), ("tool_call", "assistant_tool_call"),
)  # fmt: skip


def removed_reply(previous: Step, generated: str | None, old: Side) -> Iterator[Found]:
    """The reply that has no message of its own in the next request."""
    whole = generated if generated is not None else "".join(previous.record.reply.text.values())
    if not whole.strip():
        return
    index = len(old.messages)
    last = old.spans[-1].end if old.spans else len(previous.rendered.text) if previous.rendered is not None else 0
    start, end = (last, len(old.text)) if old.text else (None, None)
    place = Place("assistant_content", index, f"messages[{index}]")
    yield Found("removed", place, start, end, whole, "", whole=True)


def named_reply_change(generated: str, new: Side, index: int, hunk: Hunk) -> Found:
    """A change of the text of the reply, with the piece of the message that stands there now."""
    message = new.messages[index]
    there = list(pieces(message))
    if opens_reasoning(hunk.old, hunk.new):
        kept = any(p.part == "assistant_reasoning" or opens_reasoning(p.text, "") for p in there)
        return _of_hunk(hunk, Place("assistant_reasoning", index, f"messages[{index}].reasoning_content"), not kept)
    piece = place_in(message, new.span(index), hunk.new_start)
    if piece is None:
        return _of_hunk(hunk, Place("assistant_content", index, f"messages[{index}]"), False)
    place = Place(piece.part, index, f"messages[{index}].{piece.path}")
    return _of_hunk(hunk, place, piece.text not in generated)


def place_in(message: JsonObject, span: Span | None, char: int) -> Piece | None:
    """The piece of a message that a character of its rendered text belongs to, also where a template rewrote it."""
    if span is None:
        return None
    here = span.piece_at(char)
    if here is not None:
        return here
    missing = [piece for piece in pieces(message) if piece.shown and span.place_of(piece.path) is None]
    for piece in missing:
        if piece.part != "assistant_reasoning":
            return piece
    behind = [piece for start, _, piece in span.found if start >= char]
    before = [piece for start, _, piece in span.found if start < char]
    return behind[0] if behind else before[-1] if before else None


def _of_hunk(hunk: Hunk, place: Place, in_request: bool) -> Found:
    return Found(kind_of_hunk(hunk), place, hunk.start, hunk.end, hunk.old, hunk.new, in_request=in_request)


def parsed_reply_changes(previous: Step, new: Side, index: int) -> Iterator[Found]:
    """The parts of a reply, as the server took it apart, against those that the message sends back and the prompt
    shows.
    """
    said, message, span = previous.record.reply.text, new.messages[index], new.span(index)
    there = list(pieces(message))
    for kind, part in _PARTS:
        before = next((text for name, text in said.items() if name == kind), "").strip()
        mine = [piece for piece in there if piece.part == part]
        after = "".join(piece.text for piece in mine)
        if not before:
            continue
        path = f"messages[{index}]." + (mine[-1].path if mine else _PATHS[part])
        if before != after:
            kind_of_change: Kind = "changed" if after else "removed"
            yield Found(kind_of_change, Place(part, index, path), None, None, before, after, whole=True)
        elif span is not None and any(span.place_of(piece.path) is None for piece in mine):
            shown = new.text[span.start : span.end] if part == "assistant_reasoning" else _shown_call(new, index)
            yield Found("changed", Place(part, index, path), None, None, before, shown, in_request=False, whole=True)


def reply_tokens(
    previous: Step, new: Side, index: int, parsed: Sequence[Found], gaps: Sequence[Gap]
) -> Iterator[Change]:
    """What the tokens say of a reply whose text is not known: its parts that changed, or that something did.

    Parts that changed and changes of the tokens come in the same order; what is left over goes to the last one.
    """
    rendered = previous.rendered
    if rendered is None:
        return
    inside = [gap for gap in gaps if gap.old_end > len(rendered.token_ids)]
    if not inside:
        return
    said = previous.record.reply.text
    found = list(parsed[: len(inside)]) or [_unknown(said, new, index)]
    shrunk = [0] * len(found)
    for number, gap in enumerate(inside):
        count = gap.old_end - gap.old_start - _now(gap, rendered, new, index, sum(map(len, said.values())))
        shrunk[min(number, len(found) - 1)] += count
    for number, one in enumerate(found):
        gap = inside[number]
        old_whole, new_whole = window(one.old, one.new)
        same = common_prefix(one.old, one.new)
        yield Change(
            one.kind, one.place, gap.old_start, lead(one.old, same), excerpt(one.old[same:]), excerpt(one.new[same:]),
            old_whole, new_whole, shrunk[number], one.in_request,
        )  # fmt: skip


def _unknown(said: Mapping[DeltaKind, str], new: Side, index: int) -> Found:
    """A reply that says the same as before, in other tokens."""
    part: Part = "assistant_tool_call" if "tool_call" in said else "assistant_content"
    piece = next((p for p in pieces(new.messages[index]) if p.part == part and not p.path.endswith(".name")), None)
    path = f"messages[{index}]" + (f".{piece.path}" if piece is not None else "")
    return Found("retokenised", Place(part, index, path), None, None, "", "", in_request=False)


def _now(gap: Gap, rendered: Rendered, new: Side, index: int, chars: int) -> int:
    """Tokens of the new side of a change of the reply; where it reaches the end, those of the reply alone."""
    count = gap.new_end - gap.new_start
    span, follows = new.span(index), new.begin(index + 1)
    if span is None or follows is None or gap.old_end < len(rendered.sequence) or not span.found:
        return count
    generated = max(len(rendered.sequence), gap.old_end) - len(rendered.token_ids)
    whole = (follows - span.found[0][0]) * generated / max(1, chars)
    return max(0, min(count, round(whole - max(0, gap.old_start - len(rendered.token_ids)))))


_PATHS: Final[dict[Part, str]] = {
    "assistant_reasoning": "reasoning_content", "assistant_content": "content", "assistant_tool_call": "tool_calls",
}  # fmt: skip


def _shown_call(new: Side, index: int) -> str:
    span = new.spans[index]
    end = new.begin(index + 1)
    return new.text[span.start : end if end is not None else len(new.text)]
