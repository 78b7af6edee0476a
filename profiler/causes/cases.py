"""From the files of a run to the requests that lost something, each beside the one it continues. Judges nothing.

Requests are read in order and forgotten as soon as no later one can refer to them. What is held: the last request of
every conversation, every sequence that no later one of its conversation extends (as the ledger does), and the last
`RECENT` requests.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final, Generic, TypeVar

import msgspec

from backends.base import Facts, JsonObject
from profiler.causes.base import Case, Step
from profiler.causes.difference import changes
from profiler.ledger import common_prefix_tokens
from profiler.records import AnchorSample, CacheVerdict, RequestRecord
from profiler.rendered import Rendered
from profiler.store import read_bodies, read_prompts

__all__ = ["RECENT", "Cases", "cases_of_run", "lost_something", "lost_text"]

RECENT: Final = 64
"""Requests that are kept to see who came between; older ones no longer decide about a slot."""

_Key = tuple[str, str, int]
_T = TypeVar("_T")


class _Raw(msgspec.Struct, frozen=True, dict=True):
    """A request with its body still undecoded: most are never looked at."""

    record: RequestRecord
    body: bytes | None
    rendered: Rendered | None

    @property
    def key(self) -> _Key:
        return self.record.session, self.record.conversation, self.record.repeat

    @cached_property
    def step(self) -> Step:
        """The request decoded, once however often it is looked at."""
        request: JsonObject = msgspec.json.decode(self.body) if self.body else {}
        return Step(self.record, request, self.rendered)


def lost_something(record: RequestRecord) -> bool:
    """Whether tokens were lost on either side, as far as is known."""
    verdict = record.verdict
    return lost_text(verdict) or bool(verdict.lost_engine_side_tokens)


def lost_text(verdict: CacheVerdict) -> bool:
    """Whether tokens were evaluated again because the text changed.

    A prompt that an earlier sequence begins with (a request that is asked again) is shorter at no cost.
    """
    history, shared = verdict.history_tokens, verdict.lcp_tokens
    return bool(verdict.lost_prompt_side_tokens) and (history is None or shared is None or history > shared)


class _Held(msgspec.Struct, frozen=True):
    """A sequence that the engine has held, as bytes, and its request."""

    raw: _Raw
    data: bytes


def cases_of_run(
    path: Path,
    records: Iterable[RequestRecord],
    facts: Facts,
    load_log: str = "",
    anchors: Sequence[AnchorSample] = (),
) -> Iterator[Case]:
    """The cases of the run in folder `path`, in the order in which they were sent.

    `anchors` are the requests of dyno's own, which took part in what the engine did.

    Raises:
        StoreError: the bodies or the prompts cannot be read.
    """
    bodies, prompts = _ById(read_bodies(path)), _ById(read_prompts(path))
    cases = Cases(facts, load_log, anchors)
    for record in records:
        case = cases.next(record, bodies.get(record.request_id), prompts.get(record.request_id))
        if case is not None:
            yield case


class Cases:
    """The requests of one engine, taken one after the other: a `Case` of each that lost something."""

    def __init__(self, facts: Facts, load_log: str = "", anchors: Sequence[AnchorSample] = ()) -> None:
        """Begin with nothing sent; `anchors` may be a list that still grows."""
        self._facts, self._load_log, self._anchors = facts, load_log, anchors
        self._last: dict[_Key, _Raw] = {}
        self._held: list[_Held] = []
        self._recent: deque[_Raw] = deque(maxlen=RECENT)

    def next(self, record: RequestRecord, body: bytes | None, rendered: Rendered | None) -> Case | None:
        """Take the next request; its case, or `None` if it lost nothing."""
        if record.engine is not None:
            return None  # what another engine holds decides about no cache here
        raw = _Raw(record, body, rendered)
        case: Case | None = None
        if lost_something(record):
            best = _best(raw, self._held) or self._last.get(raw.key)
            case = _case(raw, self._last.get(raw.key), best, self._recent, self._facts)
            ours = _between(self._anchors, best, raw)
            case = msgspec.structs.replace(case, load_log=self._load_log, own_requests=ours)
        self._last[raw.key] = raw
        if rendered is not None:
            data = rendered.sequence.tobytes()
            self._held = [old for old in self._held if old.raw.key != raw.key or not data.startswith(old.data)]
            self._held.append(_Held(raw, data))
        self._recent.append(raw)
        return case


class _ById(Generic[_T]):
    """A stream of (request id, value), in the order of ids, looked up by ids that only grow."""

    def __init__(self, values: Iterator[tuple[int, _T]]) -> None:
        self._values = values
        self._next = next(values, None)

    def get(self, request_id: int) -> _T | None:
        while self._next is not None and self._next[0] < request_id:
            self._next = next(self._values, None)
        return self._next[1] if self._next is not None and self._next[0] == request_id else None


def _case(raw: _Raw, previous: _Raw | None, best: _Raw | None, recent: Iterable[_Raw], facts: Facts) -> Case:
    step = raw.step
    before = previous.step if previous is not None else None
    since = best.record.request_id if best is not None else 0
    return Case(
        facts=facts,
        step=step,
        previous=before,
        best=before if best is previous else best.step if best is not None else None,
        between=tuple(other.step for other in recent if other.record.request_id > since),
        changes=changes(before, step) if before is not None else (),
    )


def _best(raw: _Raw, held: Iterable[_Held]) -> _Raw | None:
    """The latest of the requests whose sequence shares most with this prompt; `None` where prompts are not shown."""
    if raw.rendered is None:
        return None
    prompt = raw.rendered.token_ids.tobytes()
    shared = ((common_prefix_tokens(prompt, one.data), one.raw.record.request_id, one.raw) for one in held)
    return max(shared, key=lambda found: found[:2], default=(0, 0, None))[2]


def _between(anchors: Sequence[AnchorSample], best: _Raw | None, raw: _Raw) -> int:
    """How many of the anchors were measured after the best match and before this request."""
    if best is None:
        return 0
    return sum(best.record.stamps.sent_ns < anchor.at_ns < raw.record.stamps.sent_ns for anchor in anchors)
