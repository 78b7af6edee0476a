"""What a rule takes and gives: a request beside the one it continues, and the cause that it names. Values alone.

The flow: `cases` makes a `Case` of every request that lost something; `difference` says what changed in its text and
where; the rules (`prompt_rules`, `engine_rules`) name `Cause`s; `profiler.findings` shares out tokens and seconds.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from backends.base import Facts, JsonObject
from profiler.records import Confidence, RequestRecord
from profiler.rendered import Rendered

LossSide = Literal["prompt", "engine"]

Part = Literal[
    "system", "tools", "user", "assistant_reasoning", "assistant_content", "assistant_tool_call", "tool", "glue"
]
"""What a piece of a prompt is: the span of a message by its role, a tool's schema, or the template's own text."""


class Step(msgspec.Struct, frozen=True):
    """One request as it stood: its record, what was sent, and the prompt as rendered, if the engine shows it.

    `request` has the keys of `backends.base.Request` (`messages`, `tools`, `parameters`, `forced`, …).
    """

    record: RequestRecord
    request: JsonObject
    rendered: Rendered | None


class Place(msgspec.Struct, frozen=True):
    """Where in a request something lies. `path` is a JSON path into the request (`messages[3].content`)."""

    part: Part
    message: int | None
    path: str


class Change(msgspec.Struct, frozen=True):
    """One difference between the previous sequence of a conversation and its next prompt, in prompt order.

    `token` is the index of the first token it touches in the previous sequence, exact for the first change and an
    estimate for later ones. `old` and `new` are what stands there on both sides, cut to a readable length; `before` is
    the equal text that leads up to it. `old_whole` and `new_whole` are the whole pieces for rules to compare (a
    message's text, a tool list, arguments), cut only where they are longer than a rule can use. `shrunk_tokens`
    estimates by how many tokens the new side is shorter here (negative: longer): what was taken out is not evaluated.
    """

    kind: Literal["changed", "inserted", "removed", "reordered", "retokenised"]
    place: Place
    token: int
    before: str
    old: str
    new: str
    old_whole: str = ""
    new_whole: str = ""
    shrunk_tokens: int = 0
    in_request: bool = True
    """Whether the requests themselves differ here; else only what was rendered or generated does."""


class Case(msgspec.Struct, frozen=True):
    """A request that lost something, with all that a rule may look at.

    `previous` is the request that it continues, `best` the one whose sequence shares most with this prompt (often the
    same); `between` the requests sent since `best` (since `previous` where prompts are not shown), oldest first;
    `changes` the differences from `previous`, in prompt order. `own_requests` counts what dyno itself sent between
    (anchors): no record holds that.
    """

    facts: Facts
    step: Step
    previous: Step | None
    best: Step | None
    between: tuple[Step, ...] = ()
    changes: tuple[Change, ...] = ()
    load_log: str = ""
    own_requests: int = 0


class Proof(msgspec.Struct, frozen=True):
    """A piece of evidence: what kind, and the words themselves (a difference, a log line, a count)."""

    kind: Literal["difference", "log", "count", "order", "request", "facts"]
    text: str
    path: str | None = None
    old: str | None = None
    new: str | None = None


class Cause(msgspec.Struct, frozen=True):
    """Why tokens were lost, as a rule found it. `code` is one of `catalogue.CAUSES`.

    A loss is shared out once. Prompt-side causes share it by `token`, the index in the previous sequence from which
    this cause loses: each is charged up to where the next begins, less `shrunk_tokens`, what its changes took out of
    the prompt. An engine-side cause that accounts for a known part says so in `tokens`; the first of the others has the
    rest.
    """

    code: str
    confidence: Confidence
    text: str
    proofs: tuple[Proof, ...]
    token: int | None = None
    shrunk_tokens: int = 0
    tokens: int | None = None
