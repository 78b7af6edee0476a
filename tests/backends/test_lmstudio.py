"""LM Studio: what its logs say by version, what no reply says, reloads, and the loaded model needs no name.

The logs are as its users and its engines' sources show them, none of a program that ran here; `about.toml` beside them
says where each is from.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base import EngineFault, Evidence, Request, TargetError
from backends.http_chat.chat import Said
from backends.lmstudio import evidence_of, plain, statements
from tests.backends.recorded_http import played

USAGE = {"prompt_tokens": 80, "completion_tokens": 2}
CHAT = "/api/v0/chat/completions"

LOGS = Path(__file__).parent / "recordings" / "lmstudio" / "logs"


def log_of(version: str) -> str:
    return (LOGS / f"{version}.txt").read_text(encoding="utf-8")


ERAS = {
    "Prompt tokens to decode": (log_of("gguf-0.3"), 939, 938),
    "stop processing": (log_of("gguf-0.4"), 939, 859),
    "Prompt cache: using": (log_of("mlx-april-2026"), 3968, 3940),
    "Prompt cache restore": (log_of("mlx-july-2026") + log_of("mlx-august-2026"), 17433, 17408),
    "Request prefill plan": (log_of("mlx-august-2026"), 17433, 17408),
    "Clearing the cache": (log_of("mlx-cleared"), 80, 0),
    "clearing cache instead": (log_of("gguf-cleared"), 80, 0),
}
"""By the line that is believed: a log, the prompt tokens of the reply beside it, and the cached ones."""


def models(*entries: tuple[str, str, str]) -> dict[str, bytes]:
    data = [{"id": name, "type": kind, "state": state, "loaded_context_length": 4096} for name, kind, state in entries]
    return {"/api/v0/models": msgspec.json.encode({"data": data})}


def test_a_reload_is_noted() -> None:
    said = evidence_of(Said(usage=USAGE, further={"stats": {"model_load_time_seconds": 2.5}}))
    assert said.log == ("the model was loaded for this request (2.5 s): its cache was empty",)
    assert evidence_of(Said(usage=USAGE, further={"stats": {"time_to_first_token": 0.1}})).log == ()


@given(
    st.none()
    | st.integers()
    | st.dictionaries(st.sampled_from(["model_load_time_seconds", "x"]), st.none() | st.floats())
)
def test_no_stats_are_a_miss(stats: Any) -> None:
    said = evidence_of(Said(usage=USAGE, further={"stats": stats}))
    assert (said.prompt_tokens, said.cached_tokens, said.evaluated_tokens, said.prefill_ns) == (80, None, None, None)


@pytest.mark.parametrize("line", ERAS)
def test_each_version_says_it_in_its_own_words(line: str) -> None:
    log, prompt, cached = ERAS[line]
    said = evidence_of(Said(usage={"prompt_tokens": prompt}), log)
    assert (said.cached_tokens, said.evaluated_tokens, said.conflict) == (cached, prompt - cached, None)
    assert said.sources["cached_tokens"] == f"engine_log: {line}"
    assert any(line in kept for kept in said.log) or line == "stop processing"


@pytest.mark.parametrize("line", ERAS)
def test_lines_of_another_prompt_or_of_several_are_not_taken(line: str) -> None:
    log, prompt, _ = ERAS[line]
    several = evidence_of(Said(usage={"prompt_tokens": prompt}), log + log)
    assert (several.cached_tokens, several.conflict) == (None, None)
    if prompt != 80:
        other = evidence_of(Said(usage=USAGE), log)
        assert other.cached_tokens is None
        assert f"about a prompt of {prompt} tokens, the reply of 80" in str(other.conflict)


def test_lines_that_do_not_say_it_are_kept_and_no_miss() -> None:
    said = evidence_of(Said(usage=USAGE), log_of("mlx-trimmed"))
    assert (said.cached_tokens, said.conflict) == (None, None)
    assert said.log == ("[cache_wrapper][INFO]: Trimmed 41 tokens from the prompt cache",)


def test_a_log_that_contradicts_itself_is_not_used() -> None:
    said = evidence_of(Said(usage={"prompt_tokens": 939}), log_of("gguf-cleared") + log_of("gguf-0.3"))
    assert said.cached_tokens is None
    assert "938 by «Prompt tokens to decode», 0 by «clearing cache instead»" in str(said.conflict)


@given(st.text())
def test_no_other_log_says_anything(log: str) -> None:
    assert statements(log) == ()
    assert evidence_of(Said(usage=USAGE), plain(log)).cached_tokens is None


def test_both_forms_of_the_log_stream_are_read() -> None:
    """As `lms` prints them (lms 07b7252, log.ts): a head before the message, or one JSON object a line."""
    july = log_of("mlx-july-2026")
    printed = "[INFO] mlx-llm@1.11.0 (mlx) some-model pid=42 " + july
    as_json = msgspec.json.encode({"timestamp": 1, "data": {"type": "runtime.log", "message": july}}).decode() + "\n"
    assert statements(plain(printed)) == statements(plain(as_json)) == statements(july)
    assert plain("{ no object\n{}") == "{ no object\n"


@pytest.mark.parametrize(
    "line",
    [
        " [model_kit][INFO]: Loading model from FOLDER...",
        "llama_model_loader: loaded meta data with 35 key-value pairs and 255 tensors from m.gguf (version GGUF V3)",
    ],
)
def test_a_load_in_the_log_is_noted(line: str) -> None:
    said = evidence_of(Said(usage=USAGE), f"2026-05-20 14:18:46 [DEBUG]\n{line}\n")
    assert said.log[0] == "the model was loaded for this request (its log says so): its cache was empty"


def test_the_log_is_read_for_each_reply(tmp_path: Path) -> None:
    log = tmp_path / "runtime.log"
    log.write_text(log_of("mlx-april-2026"))
    reply = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3968}}
    answers = {**v1(("a", ["a"])), CHAT: msgspec.json.encode(reply)}
    request = Request(({"role": "user", "content": "hello"},), stream=False)
    with played("lmstudio", answers, log=str(log)) as (engine, _):
        (before,) = [event for event in engine.stream(request) if isinstance(event, Evidence)]
        events = engine.stream(request)
        next(events)
        log.write_text(log_of("mlx-april-2026") + log_of("mlx-april-2026"))
        (after,) = [event for event in events if isinstance(event, Evidence)]
    assert (before.cached_tokens, before.log) == (None, ())
    assert (after.cached_tokens, after.evaluated_tokens) == (3940, 28)


def test_a_model_that_is_not_in_memory_is_loaded_by_the_first_request() -> None:
    reply = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}], "usage": USAGE}
    answers = {**v1(("a", []), ("b", ["b"])), CHAT: msgspec.json.encode(reply)}
    request = Request(({"role": "user", "content": "hello"},), stream=False)
    for model, expected in (("a", 1), ("b", 0), ("not-listed", 0)):
        with played("lmstudio", answers, model=model) as (engine, _):
            notes = [e.log for _ in range(2) for e in engine.stream(request) if isinstance(e, Evidence)]
        assert [len(said) for said in notes] == [expected, 0]


def v1(*models: tuple[str, list[str]]) -> dict[str, bytes]:
    """`/api/v1/models` with these models and their loaded instances, as its document shows them."""
    config = {"context_length": 8192, "eval_batch_size": 512, "parallel": 4, "flash_attention": True}
    listed: list[dict[str, Any]] = [
        {
            "type": "llm",
            "key": key,
            "architecture": "gemma4",
            "quantization": {"name": "Q4_K_M", "bits_per_weight": 4},
            "size_bytes": 17990911801,
            "loaded_instances": [{"id": name, "config": config} for name in names],
            "max_context_length": 262144,
            "format": "gguf",
        }
        for key, names in models
    ]
    listed.append({"type": "embedding", "key": "e", "quantization": None, "loaded_instances": [{"id": "e"}]})
    return {"/api/v1/models": msgspec.json.encode({"models": listed})}


def test_the_newer_list_says_more() -> None:
    with played("lmstudio", v1(("a", []), ("b", ["b:2"]))) as (engine, _):
        facts = engine.facts()
    assert (facts.model, facts.architecture, facts.quant) == ("b:2", "gemma4", "Q4_K_M")
    assert (facts.context_tokens, facts.slots, facts.settings["eval_batch_size"]) == (8192, 4, "512")
    with pytest.raises(TargetError, match="has 2 models loaded") as caught, played("lmstudio", v1(("b", ["b", "b:2"]))):
        pass
    assert "(b, b:2)" in str(caught.value.hint)


def test_an_older_one_answers_an_error_there() -> None:
    unknown = {"/api/v1/models": b'{"error": "Unexpected endpoint or method. (GET /api/v1/models)"}'}
    with played("lmstudio", {**models(("a", "llm", "loaded")), **unknown}) as (engine, _):
        assert engine.facts().model == "a"


def test_the_loaded_model_is_meant() -> None:
    listed = models(("a", "llm", "loaded"), ("b", "llm", "not-loaded"), ("e", "embeddings", "loaded"))
    with played("lmstudio", listed) as (engine, _):
        assert (engine.facts().model, engine.facts().context_tokens) == ("a", 4096)
    with played("lmstudio", listed, model="b") as (engine, _):
        assert engine.facts().model == "b"


@pytest.mark.parametrize(
    ("entries", "match"),
    [
        ([("a", "llm", "loaded"), ("b", "vlm", "loaded")], "has 2 models loaded"),
        ([("a", "llm", "not-loaded")], "has no models loaded"),
    ],
)
def test_no_model_or_several_are_said(entries: list[tuple[str, str, str]], match: str) -> None:
    with pytest.raises(TargetError, match=match) as caught, played("lmstudio", models(*entries)):
        pass
    assert "a" in str(caught.value.hint)


def test_another_server_is_said() -> None:
    with pytest.raises(EngineFault, match="lists no models"), played("lmstudio", {"/api/v0/models": b'{"data": [1]}'}):
        pass
