"""Recognition: each server by its recorded answers, imitators by themselves, and anything else by nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.discovery.recognition import PATHS, Answer, Recognised, ServedModel, recognise

RECORDINGS = Path(__file__).parents[1] / "recordings"
PLAIN = "BaseHTTP/0.6 Python/3.11.7"


def answers(said: dict[str, Any], server: str = "") -> dict[str, Answer]:
    """What a server answers that has the paths of `said`, and 404 for all others."""
    made = {path: Answer(404, b'{"error": "not found"}', server) for path in PATHS}
    for path, body in said.items():
        made[path] = Answer(200, body.encode() if isinstance(body, str) else msgspec.json.encode(body), server)
    return made


def recorded(engine: str) -> dict[str, Any]:
    said = msgspec.json.decode((RECORDINGS / engine / "answers.json").read_bytes(), type=dict[str, Any])
    return {path: body for path, body in said.items() if path in PATHS}


def props() -> Any:
    return msgspec.json.decode((RECORDINGS / "llama-server" / "props.json").read_bytes())


@pytest.mark.parametrize("engine", ["llama-cpp-server", "llama-swap", "lmstudio", "ollama", "sglang", "vllm"])
def test_a_server_is_recognised_by_its_recorded_answers(engine: str) -> None:
    found = recognise(answers(recorded(engine)))
    assert found.engine == engine
    assert found.models
    assert not found.needs_key


def test_llama_server_says_context_and_slots() -> None:
    found = recognise(answers({**recorded("openai"), "/props": props()}))
    model = ServedModel("tiny-f16.gguf", 8192, loaded=True)
    assert found == Recognised("llama-server", "llama-server", "/props: total_slots", "b0-unknown", (model,), 4)


def test_mlx_server_names_itself_nowhere() -> None:
    health = {"/health": {"status": "ok"}}
    assert recognise(answers(health, PLAIN)).engine == "mlx-server"
    assert recognise(answers(health, "nginx")).engine is None
    owned = {"object": "list", "data": [{"id": "m", "owned_by": "somebody"}]}
    assert recognise(answers({**health, "/v1/models": owned}, PLAIN)).engine == "openai"


def test_an_imitator_is_not_taken_for_what_it_imitates() -> None:
    said = {
        "/props": props(),
        "/api/version": {"version": "0.7.0"},
        "/api/tags": {"models": [{"name": "koboldcpp/m"}]},
        "/v1/models": {"object": "list", "data": [{"id": "koboldcpp/m", "owned_by": "koboldcpp"}]},
        "/api/extra/version": {"result": "KoboldCpp", "version": "1.99"},
    }
    found = recognise(answers(said))
    assert (found.program, found.engine, found.version) == ("KoboldCpp", "openai", "1.99")


def test_models_that_are_loaded_are_told_from_those_that_are_not() -> None:
    studio = recognise(answers(recorded("lmstudio")))
    assert [(m.name, m.loaded) for m in studio.models] == [("granite-3.0-2b-instruct", True), ("other", False)]
    running = {"running": [{"model": "some-model", "state": "ready"}]}
    swap = recognise(answers({**recorded("llama-swap"), "/running": running}))
    assert [(m.name, m.loaded) for m in swap.models] == [("some-model", True)]
    ollama = recognise(answers(recorded("ollama")))
    assert ollama.models == (ServedModel("some-model:latest", 32768, loaded=True),)


def test_a_server_that_says_200_to_everything_is_not_taken_at_its_word() -> None:
    """LM Studio answers unknown paths so, with an error inside."""
    everywhere = {path: {"error": "Unexpected endpoint or method."} for path in PATHS}
    assert recognise(answers(everywhere)).program is None
    assert recognise(answers(everywhere | recorded("lmstudio"))).engine == "lmstudio"


def test_a_key_that_is_wanted() -> None:
    refused = {path: Answer(401, b"{}", "llama.cpp") for path in PATHS}
    found = recognise(refused | {"/health": Answer(200, b'{"status":"ok"}', "llama.cpp")})
    assert (found.engine, found.needs_key, found.loading) == ("llama-server", True, False)
    unnamed = recognise(dict.fromkeys(PATHS, Answer(401)))
    assert (unnamed.engine, unnamed.needs_key) == ("openai", True)


def test_a_llama_server_that_loads() -> None:
    loading = dict.fromkeys(PATHS, Answer(503, b'{"error":{"message":"Loading model"}}', "llama.cpp"))
    found = recognise(loading)
    assert (found.engine, found.loading, found.models) == ("llama-server", True, ())


def test_any_other_openai_interface_keeps_its_owner() -> None:
    listed = {"object": "list", "data": [{"id": "m", "owned_by": "tabbyAPI", "max_model_len": 4096}]}
    found = recognise(answers({"/v1/models": listed}))
    assert (found.program, found.engine) == ("an OpenAI interface (owned_by tabbyAPI)", "openai")
    assert found.models == (ServedModel("m", 4096),)


def test_a_web_page_is_nothing() -> None:
    page = dict.fromkeys(PATHS, Answer(200, b"<!doctype html><title>Jenkins</title>", "Jetty"))
    assert recognise(page) == Recognised(None, None, None)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=4,
)
KEYS = ("data", "models", "running", "result", "version", "total_slots", "default_generation_settings", "info")
objects = st.dictionaries(st.sampled_from(KEYS), anything, max_size=4)


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from(PATHS), st.tuples(st.sampled_from((200, 401, 404, 503)), objects)))
def test_no_answer_breaks_it(said: dict[str, tuple[int, Any]]) -> None:
    found = recognise({path: Answer(status, msgspec.json.encode(body)) for path, (status, body) in said.items()})
    assert (found.program is None) is (found.engine is None)


@given(st.dictionaries(st.sampled_from(PATHS), st.binary(max_size=30)))
def test_no_bytes_break_it(said: dict[str, bytes]) -> None:
    recognise({path: Answer(200, body) for path, body in said.items()})
