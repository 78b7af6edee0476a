"""The tools of toolbench as the model sees them: names, schemas, groups. Runs nothing.

`records` look up one property of an item, now, before, or planned; `forms` do something and give a receipt; `trails`
name the next thing to ask. `unlock` and `wait` are what an error can ask for.
"""

from __future__ import annotations

from backends.base import JsonObject
from harness.tools.base import schema_of
from profiler.dispatch_records import Effect

__all__ = ["EFFECTS", "FORMS", "PROPERTIES", "RECORDS", "SCHEMAS", "TENSES", "TRAILS"]

PROPERTIES = ("price", "owner", "shelf", "weight", "maker", "batch", "grade", "label")
TENSES = {"get": "", "old": "old ", "plan": "planned "}
"""First word of a tool's name -> how a question says it."""

RECORDS = tuple(f"{tense}_{name}" for name in PROPERTIES for tense in TENSES)
TRAILS = {"card": "read_card", "box": "open_box", "desk": "ask_desk", "line": "call_line"}
FORMS: dict[str, dict[str, str]] = {
    "book_room": {"room": "string", "day": "string", "time": "string", "people": "integer"},
    "send_parcel": {"parcel": "string", "city": "string", "weight": "integer"},
    "move_stock": {"item": "string", "count": "integer", "source": "string", "target": "string"},
    "set_alarm": {"zone": "string", "day": "string", "time": "string"},
}
_TEXT: JsonObject = {"type": "string"}
_FORM_TEXTS = {
    "book_room": "Book a room.",
    "send_parcel": "Send a parcel.",
    "move_stock": "Move items between two shelves.",
    "set_alarm": "Set the alarm of a zone.",
}
_TRAIL_TEXTS = {"card": "Read a card.", "box": "Open a box.", "desk": "Ask at a desk.", "line": "Call a line."}


def _schemas() -> dict[str, JsonObject]:
    schemas = {
        f"{tense}_{name}": schema_of(f"{tense}_{name}", f"The {said}{name} of an item.", required={"item": _TEXT})
        for name in PROPERTIES
        for tense, said in TENSES.items()
    }
    for thing, tool in TRAILS.items():
        schemas[tool] = schema_of(tool, _TRAIL_TEXTS[thing], required={thing: _TEXT})
    for tool, parameters in FORMS.items():
        schemas[tool] = schema_of(
            tool, _FORM_TEXTS[tool], required={name: {"type": kind} for name, kind in parameters.items()}
        )
    schemas["unlock"] = schema_of("unlock", "Unlock an item.", required={"item": _TEXT, "key": _TEXT})
    schemas["wait"] = schema_of("wait", "Wait some seconds.", required={"seconds": {"type": "integer"}})
    schemas["submit"] = schema_of("submit", "Submit the answer and finish.", required={"answer": _TEXT})
    return schemas


SCHEMAS: dict[str, JsonObject] = _schemas()
EFFECTS: dict[str, Effect] = {
    **dict.fromkeys((*RECORDS, *TRAILS.values()), "load"),
    **dict.fromkeys((*FORMS, "unlock", "wait"), "execute"),
    "submit": "finish",
}
