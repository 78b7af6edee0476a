"""Templates that break in known ways, rendered by Jinja here; then the bundled model's own on a real engine."""

from __future__ import annotations

import json
from array import array
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from backends.base import Facts, Prompt, Request, RequestRejected, TargetError
from harness.cli.template_run import options_of, run_template, target_of
from harness.templates.document import document_of
from harness.templates.probe import ConstructResult, NoRenderer, Probe, probe

jinja2 = pytest.importorskip("jinja2")

NOW = datetime(2026, 11, 20)
TINY = Path(__file__).parents[3] / "profiles" / "models" / "tiny"
STABLE = (TINY / "chatml-stable.jinja").read_text()
STRIP = (TINY / "chatml-strip.jinja").read_text()

DATED = "{{ '<|im_start|>system\nToday is ' + (date_string or today) + '<|im_end|>\n' }}" + STABLE
TOOLS_LAST = (
    "{% for m in messages %}{% if loop.last and m.role == 'user' %}[TOOLS]{{ tools | tojson }}[/TOOLS]{% endif %}"
    "<{{ m.role }}>{{ m.content or '' }}{% for c in m.tool_calls or [] %}{{ c.function.arguments }}{% endfor %}"
    "</{{ m.role }}>{% endfor %}<assistant>"
)
SORTED = STABLE.replace("{{- tool_call.arguments }}", "{{- tool_call.arguments | fromjson | dictsort | tojson }}")
KEPT_ON_REQUEST = STRIP.replace(
    "loop.index0 > query.last", "(preserve_thinking is defined and preserve_thinking or loop.index0 > query.last)"
)
NO_THINKING_SHOWN = STABLE.replace("{%- if message.reasoning_content %}", "{%- if false %}")
THINKING_OPENED = NO_THINKING_SHOWN.replace(
    "{{- '<|im_start|>assistant\\n' }}\n{%- endif %}", "{{- '<|im_start|>assistant\\n<think>\\n' }}\n{%- endif %}"
)


class Jinja:
    """An engine that renders with Jinja and takes each character for a token."""

    def __init__(self, template: str) -> None:
        environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
        environment.filters["fromjson"] = json.loads
        environment.filters["tojson"] = lambda value: json.dumps(dict(value) if _pairs(value) else value)
        self._template = environment.from_string(template)

    def render(self, request: Request) -> Prompt:
        if any(isinstance(message.get("content"), list) for message in request.messages):
            raise RequestRejected("no images here")
        options = request.parameters.get("chat_template_kwargs", {})
        text = self._template.render(
            messages=request.messages, tools=request.tools, add_generation_prompt=True, today="20 Nov 2026", **options
        )
        return Prompt(text, array("i", map(ord, text)))


def _pairs(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, tuple) for item in value)


def probed(template: str) -> Probe:
    return probe(Jinja(template), NOW)


def named(found: Probe, name: str) -> ConstructResult:
    return next(result for result in found.constructs if result.name == name)


def test_a_stable_template() -> None:
    found = probed(STABLE)
    assert not found.named("unstable")
    assert not found.named("conditional")
    assert [result.name for result in found.named("refused")] == ["image"]
    assert not found.levers


def test_stripped_reasoning_breaks_at_the_new_order_and_not_before() -> None:
    found = probed(STRIP)
    assert [result.name for result in found.named("unstable")] == ["reasoning-answer", "reasoning-new-order"]
    (loss,) = named(found, "reasoning-new-order").findings
    assert (loss.when, loss.scope) == ("new_order", "since_user")
    assert "Thought 1" in loss.was
    assert "Thought 1" not in loss.now


def test_the_option_that_keeps_reasoning_is_found() -> None:
    found = probed(KEPT_ON_REQUEST)
    (lever,) = found.levers
    assert lever.template_options == {"preserve_thinking": True}
    assert lever.fixes == ("reasoning-answer", "reasoning-new-order")
    assert not probe(Jinja(KEPT_ON_REQUEST), NOW, {"preserve_thinking": True}).named("unstable")


def test_a_date_is_found_and_so_is_what_sets_it() -> None:
    found = probed(DATED)
    assert [result.name for result in found.named("unstable")] == ["clock"]
    assert [lever.fixes for lever in found.levers] == [("clock",)]


def test_tools_behind_the_history_break_every_new_order() -> None:
    losses = named(probed(TOOLS_LAST), "text").findings
    assert len(losses) == 2
    for loss in losses:
        assert loss.cause.startswith("the tool definitions stand behind the history and move")
        assert loss.lost_tokens > 500


def test_tools_that_go_while_the_loop_runs() -> None:
    first = named(probed(TOOLS_LAST), "tool-call").findings[0]
    assert (first.cause, first.when) == ("the tool definitions go", "every_turn")


def test_sorted_arguments_are_lost_only_by_models_that_write_them_otherwise() -> None:
    found = probed(SORTED)
    assert not found.named("unstable")
    conditional = {result.name: result.findings[0].cause for result in found.named("conditional")}
    assert "another order" in conditional["arguments-spaced"]
    assert "spaces" in conditional["arguments-compact"] or "order" in conditional["arguments-compact"]
    assert "arguments-order" not in conditional


def test_reasoning_without_a_place_counts_only_for_models_that_reason() -> None:
    assert {r.status for r in probed(NO_THINKING_SHOWN).constructs if r.name.startswith("reasoning")} == {"conditional"}
    assert {r.status for r in probed(THINKING_OPENED).constructs if r.name.startswith("reasoning")} == {"unstable"}


def test_where_every_reply_reasons_only_the_constructs_of_reasoning_show_it() -> None:
    found = probed(THINKING_OPENED)
    assert {result.name for result in found.named("unstable")} == {
        r.name for r in found.constructs if "reason" in r.name
    }
    assert named(found, "text").note == "apart from what other constructs show"


def test_calls_that_are_not_rendered_count_for_every_model() -> None:
    found = probed(STABLE.replace("message.tool_calls or []", "[]"))
    assert named(found, "tool-call").findings[0].cause == "tool calls are not rendered"
    assert named(found, "tool-call").status == "unstable"
    assert named(found, "arguments-compact").status == "stable"


def test_an_engine_without_prompts_is_told() -> None:
    class Silent:
        def render(self, request: Request) -> None:
            return None

    with pytest.raises(NoRenderer, match="does not show its prompts"):
        probe(Silent(), NOW)
    with pytest.raises(NoRenderer, match="refuses plain messages"):
        probe(_Refusing(""), NOW)


class _Refusing(Jinja):
    def render(self, request: Request) -> Prompt:
        raise RequestRejected("Conversation roles must alternate")


def test_the_document_names_each_loss_once_the_dearest_first() -> None:
    document = document_of("x:y", Facts(engine="x"), {}, probed(STRIP))
    assert document.verdict == "UNSTABLE"
    first, second = document.losses
    assert first.constructs == ("reasoning-new-order",)
    assert first.tokens_at[131_072] > 100_000
    assert second.tokens_at[8_192] == second.tokens_at[131_072]


@pytest.mark.parametrize(
    ("typed", "options"),
    [([], {}), (["a=true", "b=text", "c=1=2"], {"a": True, "b": "text", "c": "1=2"}), (['d="1"'], {"d": "1"})],
)
def test_template_options_as_typed(typed: list[str], options: dict[str, Any]) -> None:
    assert options_of(typed) == options


def test_places_as_typed(tmp_path: Path) -> None:
    bare = target_of("m.gguf?ctx=99")
    assert (bare.engine, bare.model, bare.options["ctx"], bare.options["gpu_layers"]) == (
        "llama-server",
        "m.gguf",
        "99",
        "0",
    )
    assert target_of(str(tmp_path)).engine == "mlx"
    assert target_of("llama-cpp:m.gguf").options == {}
    for wrong in ("nothing-here", "=x"):
        with pytest.raises(TargetError):
            target_of(wrong) if wrong != "=x" else options_of([wrong])


@pytest.mark.engine
@pytest.mark.parametrize("template", ["", "chatml-strip.jinja"])
def test_on_llama_server(template: str, capsys: pytest.CaptureFixture[str]) -> None:
    """llama-server reads arguments and writes them anew, whatever the template does; cache.md, P8."""
    place = f"{TINY / 'tiny-f16.gguf'}" + (f"?template={TINY / template}" if template else "")
    run_template(place, [], json_output=True)
    document = json.loads(capsys.readouterr().out)
    assert document["verdict"] == ("UNSTABLE" if template else "STABLE")
    status = {result["name"]: result["status"] for result in document["constructs"]}
    assert status["arguments-spaced"] == status["arguments-order"] == status["arguments-unicode"] == "stable"
    assert status["arguments-compact"] == status["arguments-numbers"] == "conditional"
    assert (status["reasoning-new-order"] == "unstable") is bool(template)
    assert document["prompts"] > 40
