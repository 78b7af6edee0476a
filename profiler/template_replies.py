"""What a model said, looked up in a rendered reply: is a piece there as it was said, and if not, where does it differ?

Pure text. Which format a template gives tool calls is not known here: arguments are found as the JSON object that
equals them, and where a call is not written as JSON, by their values.
"""

from __future__ import annotations

import json
from typing import Any, Literal, cast

import msgspec

from backends.base import JsonObject

__all__ = ["NOT_RENDERED", "Spoken", "SpokenKind", "place_of", "reply_break", "shared_chars"]

NOT_RENDERED = "the reasoning of the last reply is not rendered"
NO_CALLS = "tool calls are not rendered"
ANEW = "arguments of a tool call are written anew"
SpokenKind = Literal["reasoning", "content", "call", "arguments"]


class Spoken(msgspec.Struct, frozen=True):
    """A piece of what the model generated, as it generated it.

    `arguments` are those of one tool call, as JSON text; `call` is one value of a tool call whose form does not matter.
    """

    kind: SpokenKind
    text: str


def place_of(spoken: Spoken, span: str, place: int) -> int | None:
    """Where a piece ends in the rendered reply; `None` if it is not there as it was said."""
    forms = [spoken.text]
    if spoken.kind == "arguments":
        # Arguments as a JSON string inside JSON are still the model's own text.
        forms += [json.dumps(spoken.text, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)]
    for form in forms:
        for start in (place, 0):
            if (at := span.find(form, start)) >= 0:
                return at + len(form)
    if spoken.kind == "arguments" and _rendered_json(spoken.text, span) is None and _values_in_order(spoken.text, span):
        return place
    return None


class Break(msgspec.Struct, frozen=True):
    """Where a rendered reply leaves what was said: the cause, its offset, and what the model had said from there on."""

    cause: str
    at: int
    rest: str


def reply_break(spoken: Spoken, span: str, place: int) -> Break:
    """How a piece that is not in the rendered reply as it was said differs from it."""
    if spoken.kind == "arguments":
        return _arguments_break(spoken.text, span, place)
    if spoken.kind == "call":
        return Break(NO_CALLS, place, spoken.text)
    stripped = spoken.text.strip()
    at = span.find(stripped)
    if at >= 0 and stripped != spoken.text:
        leading = spoken.text != spoken.text.lstrip()
        rest = spoken.text if leading else spoken.text[len(stripped) :]
        return Break("white space around an answer is trimmed", at if leading else at + len(stripped), rest)
    if spoken.kind == "reasoning":
        return Break(NOT_RENDERED, place, spoken.text)
    return Break("the text of the last reply is not rendered as it was said", place, spoken.text)


def _arguments_break(arguments: str, span: str, place: int) -> Break:
    rendered = _rendered_json(arguments, span)
    if rendered is not None:
        same = shared_chars(span[rendered:], arguments)
        how = _how(arguments, span[rendered:])
        return Break(f"{ANEW} ({how})", rendered + same, arguments[same:])
    values = _values(arguments)
    missing = [value for value in values if value not in span]
    if len(missing) == len(values):
        return Break(NO_CALLS, place, arguments)
    if not missing:
        return Break(f"{ANEW} (their keys in another order)", min(span.find(value) for value in values), arguments)
    how = "their numbers in another form" if all(map(_is_number, missing)) else "their values in another form"
    # The longest start of the value that is there: where a number was cut, say.
    starts = (missing[0][:length] for length in range(len(missing[0]), 0, -1))
    start = next((found for found in starts if found in span), "")
    at = span.find(start, place) + len(start) if start else place
    return Break(f"{ANEW} ({how})", at, missing[0][len(start) :])


def _rendered_json(arguments: str, span: str) -> int | None:
    """Where the rendered reply holds a JSON object equal to these arguments."""
    try:
        wanted = json.loads(arguments)
    except ValueError:
        return None
    decoder, at = json.JSONDecoder(), span.find("{")
    while at >= 0:
        try:
            found, _ = decoder.raw_decode(span, at)
        except ValueError:
            found = None
        if _equal(found, wanted):
            return at
        at = span.find("{", at + 1)
    return None


def _equal(found: Any, wanted: Any) -> bool:
    """Equal, with numbers as near as an engine that rounds them leaves them."""
    if isinstance(found, float) and isinstance(wanted, float | int):
        return abs(found - wanted) <= 1e-5 * max(1.0, abs(wanted))
    if isinstance(found, dict) and isinstance(wanted, dict):
        a, b = cast("JsonObject", found), cast("JsonObject", wanted)
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in b)
    if isinstance(found, list) and isinstance(wanted, list):
        pair: tuple[list[Any], list[Any]] = found, wanted  # pyright: ignore[reportUnknownVariableType]
        return len(pair[0]) == len(pair[1]) and all(map(_equal, *pair))
    return bool(found == wanted)


def _how(said: str, rendered: str) -> str:
    """What changed between two texts of one JSON object."""
    old = json.loads(said)
    new, end = json.JSONDecoder().raw_decode(rendered)
    if list(old) != list(new):
        return "their keys in another order"
    if old != new or repr(old) != repr(new):
        return "their numbers in another form"
    if "".join(said.split()) == "".join(rendered[:end].split()):
        return "their spaces"
    return "characters escaped otherwise"


def _values_in_order(arguments: str, span: str) -> bool:
    """Whether a call that is not written as JSON shows the plain values in the order in which they were said."""
    place = 0
    for value in _values(arguments):
        at = span.find(value, place)
        if at < 0:
            return False
        place = at + len(value)
    return bool(_values(arguments))


def _values(arguments: str) -> list[str]:
    """The values of arguments as a format without quotes would show them."""
    try:
        values = msgspec.json.decode(arguments, type=JsonObject)
    except msgspec.DecodeError:
        return []
    shown = [value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values.values()]
    return [str(value) for value in shown]


def _is_number(text: str) -> bool:
    return text.lstrip("-").replace(".", "", 1).isdecimal()


def shared_chars(a: str, b: str) -> int:
    """Length of the common prefix of two texts."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
