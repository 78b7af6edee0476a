"""Grow agent histories construct by construct through an engine's own renderer, and judge each prompt against the last.

The histories are made here, small and each with one construct; nothing is generated. `profiler.template_stability`
judges. Where reasoning is lost, the template options that are known to keep it are tried.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Literal, Protocol

import msgspec

from backends.base import ContextOverflow, EngineError, EngineFault, JsonObject, Prompt, Request, RequestRejected
from harness.templates.histories import CLOCK, CONSTRUCTS, TOOLS, TOOLS_MARK, Construct
from profiler.template_replies import Spoken
from profiler.template_stability import Finding, Step, clock_finding, judge_step, opens_reasoning, shows_anywhere

__all__ = ["ConstructResult", "Lever", "NoRenderer", "Probe", "Renders", "probe"]

Status = Literal["stable", "unstable", "conditional", "refused"]
"""`conditional`: lost only by a model that writes so, or that reasons where the template has no place for it."""

_KEEP_REASONING: tuple[JsonObject, ...] = (
    {"preserve_thinking": True},
    {"preserve_reasoning": True},
    {"clear_thinking": False},
    {"drop_thinking": False},
    {"keep_past_thinking": True},
    {"truncate_history_thinking": False},
)
"""Options of templates (`chat_template_kwargs`) that keep reasoning: of Qwen, llama-server's name for all, of GLM,
DeepSeek, LFM and Nemotron."""
_THOUGHT = "that is what to do next, I think."
_FIXED_DATE: JsonObject = {"date_string": "01 January 2026"}
_THOUGHT_KEYS = ("reasoning", "thinking")


class Renders(Protocol):
    """What the probe needs of an engine."""

    def render(self, request: Request) -> Prompt | None:
        """See `Engine.render`."""
        ...


class NoRenderer(EngineError):
    """The engine does not show its prompts."""


class ConstructResult(msgspec.Struct, frozen=True):
    """How one construct fared: prompts compared, what was lost, or why the template refused it."""

    name: str
    title: str
    status: Status
    steps: int
    findings: tuple[Finding, ...] = ()
    note: str | None = None


class Lever(msgspec.Struct, frozen=True):
    """Something to set or to send, tried: the constructs that are stable with it and are not without."""

    how: str
    template_options: JsonObject
    fixes: tuple[str, ...]


class Probe(msgspec.Struct, frozen=True):
    """Everything that was tried on one engine."""

    constructs: tuple[ConstructResult, ...]
    levers: tuple[Lever, ...]
    prompts: int

    def named(self, status: Status) -> tuple[ConstructResult, ...]:
        """The constructs with that result."""
        return tuple(result for result in self.constructs if result.status == status)


def probe(engine: Renders, now: datetime, template_options: JsonObject | None = None) -> Probe:
    """Try every construct, then the levers for those that failed. `now` is the time that a template might write.

    Raises:
        NoRenderer: the engine does not show its prompts, or its template refuses even plain text.
        EngineError: it failed or went away.
    """
    trial = _Trial(engine, now, template_options or {})
    results = _without_repeats(tuple(trial.result(construct) for construct in CONSTRUCTS))
    if results[0].status == "refused":
        raise NoRenderer(f"the template refuses plain messages: {results[0].note}", hint="is it a chat template?")
    levers = [*_reasoning_levers(trial, results), *_clock_levers(trial, results)]
    return Probe(results, tuple(levers), trial.prompts)


def _without_repeats(results: tuple[ConstructResult, ...]) -> tuple[ConstructResult, ...]:
    """Each result with what its construct causes alone.

    Where every reply has reasoning, what becomes of it is shown by the constructs with reasoning. What the plain ones
    lose is not counted again against a form of arguments.
    """
    reasoned = {c.name for c in CONSTRUCTS if c.reasons}
    unstable = [result for result in results if result.status == "unstable"]
    of_reasoning = {f.cause for r in unstable if r.name in reasoned for f in r.findings if "reasoning" in f.cause}
    plain = {finding.cause for result in unstable for finding in result.findings}
    kept: list[ConstructResult] = []
    for result in results:
        known = plain if result.status == "conditional" else set[str]() if result.name in reasoned else of_reasoning
        own = tuple(finding for finding in result.findings if finding.cause not in known)
        if len(own) == len(result.findings):
            kept.append(result)
        elif own:
            kept.append(msgspec.structs.replace(result, findings=own))
        else:
            note = "apart from what other constructs show"
            kept.append(msgspec.structs.replace(result, status="stable", findings=(), note=note))
    return tuple(kept)


class _Trial:
    """One engine under one set of template options."""

    def __init__(self, engine: Renders, now: datetime, options: JsonObject, thought_key: str | None = None) -> None:
        self._engine = engine
        self._now = now
        self._options = options
        self._thought_key = thought_key
        self.prompts = 0

    def other(self, options: JsonObject, thought_key: str | None = None) -> _Trial:
        """The same engine with further template options, or with reasoning under another key."""
        return _Trial(self._engine, self._now, self._options | options, thought_key)

    def result(self, construct: Construct) -> ConstructResult:
        """Render a construct's history turn by turn and judge it."""
        try:
            if construct.name == CLOCK:
                return self._clock(construct)
            steps = self._steps(construct)
        except ContextOverflow:
            raise
        except (RequestRejected, EngineFault) as error:
            # llama-server answers 500 where its template raises, and for images without a projector.
            return ConstructResult(construct.name, construct.title, "refused", 0, note=str(error))
        findings = tuple(finding for step in steps for finding in judge_step(step))
        status: Status = "stable"
        note = None
        if findings:
            status, note = self._weight(construct, steps)
        return ConstructResult(construct.name, construct.title, status, len(steps), findings, note)

    def _weight(self, construct: Construct, steps: tuple[Step, ...]) -> tuple[Status, str | None]:
        """Whether a loss needs a model of a certain kind."""
        if construct.needs is not None:
            return "conditional", construct.needs
        if construct.reasons and not self._opens(construct, steps[0].before) and not self._shows_reasoning():
            return "conditional", "only of a model that reasons: this template shows no reasoning"
        return "unstable", None

    def _shows_reasoning(self) -> bool:
        """Whether the template has a place for reasoning at all, while a tool loop runs or in an answer."""
        for construct in CONSTRUCTS:
            if construct.reasons:
                try:
                    steps = self._steps(construct)
                except (RequestRejected, EngineFault):
                    continue
                if any(shows_anywhere(thought, steps) for thought in steps[-1].thoughts):
                    return True
        return False

    def _steps(self, construct: Construct) -> tuple[Step, ...]:
        history = list(construct.opening)
        before = self._render(history)
        always = self._opens(construct, before)
        thoughts: tuple[str, ...] = ()
        steps: list[Step] = []
        for number, (plain, answers) in enumerate(construct.turns, 1):
            reply = {"reasoning_content": f"Thought {number}: {_THOUGHT}", **plain} if always else plain
            marks = tuple(_mark(message) for message in history)
            users = [n for n, message in enumerate(history) if message["role"] == "user"]
            thoughts += (str(reply["reasoning_content"]),) if "reasoning_content" in reply else ()
            history += [reply, *answers]
            after = self._render(history)
            asks = any(message["role"] == "user" for message in answers)
            spoken = _spoken(reply, arguments=construct.forms)
            steps.append(Step(before, after, spoken, marks, users[-1], TOOLS_MARK, thoughts, asks))
            before = after
        return tuple(steps)

    def _opens(self, construct: Construct, prompt: Prompt) -> bool:
        return opens_reasoning(prompt, _mark(construct.opening[-1]))

    def _clock(self, construct: Construct) -> ConstructResult:
        found = clock_finding(self._render(list(construct.opening)), self._now)
        status: Status = "stable" if found is None else "unstable"
        return ConstructResult(construct.name, construct.title, status, 1, (found,) if found else ())

    def _render(self, messages: list[JsonObject]) -> Prompt:
        sent = tuple(self._renamed(message) for message in messages)
        parameters: JsonObject = {"chat_template_kwargs": self._options} if self._options else {}
        prompt = self._engine.render(Request(sent, TOOLS, parameters=parameters))
        self.prompts += 1
        if prompt is None:
            raise NoRenderer(
                "this engine does not show its prompts",
                hint="probe the model's file or folder, or a server with /apply-template or /tokenize",
            )
        return prompt

    def _renamed(self, message: JsonObject) -> JsonObject:
        if self._thought_key is None or "reasoning_content" not in message:
            return message
        return {self._thought_key if key == "reasoning_content" else key: value for key, value in message.items()}


def _mark(message: JsonObject) -> str:
    """A text that only this message holds: of its content, its call's arguments, or its reasoning."""
    shown = msgspec.convert(message, _Shown)
    content = shown.content if isinstance(shown.content, str) else ""
    if isinstance(shown.content, list):
        content = next((str(part["text"]) for part in shown.content if part["type"] == "text"), "")
    arguments = msgspec.json.decode(shown.tool_calls[0].function.arguments, type=JsonObject) if shown.tool_calls else {}
    first = next((str(value) for value in arguments.values() if isinstance(value, str)), "")
    return content.strip().partition("\n")[0] or first or shown.reasoning_content


def _spoken(reply: JsonObject, *, arguments: bool) -> tuple[Spoken, ...]:
    """A reply in the order in which models say it. Arguments count only where their form is what is tried: elsewhere
    the model is taken to write them as the template does.
    """
    shown = msgspec.convert(reply, _Shown)
    pieces = [Spoken("reasoning", shown.reasoning_content), Spoken("content", str(shown.content or ""))]
    for call in shown.tool_calls:
        named = msgspec.json.decode(call.function.arguments, type=JsonObject)
        pieces.append(Spoken("arguments", call.function.arguments) if arguments else Spoken("call", named["path"]))
    return tuple(piece for piece in pieces if piece.text)


class _Function(msgspec.Struct):
    arguments: str


class _Call(msgspec.Struct):
    function: _Function


class _Shown(msgspec.Struct):
    """What of a message can be seen in a prompt."""

    content: str | list[JsonObject] | None = None
    reasoning_content: str = ""
    tool_calls: list[_Call] = []


def _reasoning_levers(trial: _Trial, results: tuple[ConstructResult, ...]) -> list[Lever]:
    lost = [
        c for c, r in zip(CONSTRUCTS, results, strict=True) if c.reasons and r.status in ("unstable", "conditional")
    ]
    if not lost:
        return []
    found: list[Lever] = []
    for options in _KEEP_REASONING:
        how = "set " + ", ".join(f"{key}={json.dumps(value)}" for key, value in options.items())
        how += " (llama-server: --reasoning-preserve)" if "preserve_reasoning" in options else ""
        found += _lever(how, options, trial.other(options), lost)
    for key in _THOUGHT_KEYS:
        found += _lever(f"send the reasoning back as `{key}`", {}, trial.other({}, key), lost)
    return found


def _clock_levers(trial: _Trial, results: tuple[ConstructResult, ...]) -> list[Lever]:
    lost = [c for c, r in zip(CONSTRUCTS, results, strict=True) if c.name == CLOCK and r.status == "unstable"]
    how = f'set date_string="{_FIXED_DATE["date_string"]}"'
    return _lever(how, _FIXED_DATE, trial.other(_FIXED_DATE), lost) if lost else []


def _lever(how: str, options: JsonObject, trial: _Trial, lost: list[Construct]) -> list[Lever]:
    fixes = tuple(construct.name for construct in lost if trial.result(construct).status == "stable")
    return [Lever(how, options, fixes)] if fixes else []
