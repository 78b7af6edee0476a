"""Spans in OTLP's JSON form: ids in hexadecimal, integers of 64 bits as text, unknown attributes left out. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

__all__ = ["CLIENT", "INTERNAL", "Json", "attributes_of", "span", "span_id", "trace_id"]

Json = dict[str, Any]
INTERNAL: Final = 1
CLIENT: Final = 3
_ERROR: Final = 2


def trace_id(*place: object) -> str:
    """The id of a trace, the same whenever the same run is exported: 32 hexadecimal digits."""
    return _digest(*place)[:32]


def span_id(*place: object) -> str:
    """The id of a span, likewise: 16 digits."""
    return _digest(*place)[:16]


def span(
    ids: tuple[str, str, str | None],
    name: str,
    kind: int,
    times_unix_ns: tuple[int, int],
    attributes: Mapping[str, object],
    *,
    error: str | None = None,
    events: Mapping[str, int | None] | None = None,
) -> Json:
    """One span; `ids` are those of its trace, of itself and of its parent, `events` their times by name."""
    trace, own, parent = ids
    made: Json = {"traceId": trace, "spanId": own}
    if parent is not None:
        made["parentSpanId"] = parent
    made |= {
        "name": name,
        "kind": kind,
        "startTimeUnixNano": str(times_unix_ns[0]),
        "endTimeUnixNano": str(max(times_unix_ns)),
        "attributes": attributes_of(attributes),
    }
    seen = [{"timeUnixNano": str(at), "name": event} for event, at in (events or {}).items() if at is not None]
    if seen:
        made["events"] = seen
    if error is not None:
        made["status"] = {"code": _ERROR, "message": error}
    return made


def attributes_of(values: Mapping[str, object]) -> list[Json]:
    """Attributes as OTLP has them; those that are `None` are left out."""
    return [{"key": key, "value": _value(value)} for key, value in values.items() if value is not None]


def _value(value: object) -> Json:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return {"arrayValue": {"values": [_value(one) for one in cast("Sequence[object]", value)]}}
    return {"stringValue": str(value)}


def _digest(*place: object) -> str:
    return hashlib.sha256("\0".join(map(str, place)).encode()).hexdigest()
