"""Prompts as llama_cpp.server makes them, rendered without its weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.base import JsonObject, LaunchError, Request, RequestRejected
from backends.workers.frames import Load
from backends.workers.renderer import Renderer

for package in ("llama_cpp", "pydantic_settings"):
    pytest.importorskip(package, reason="its server is not installed: pip install 'llmdyno[llama-cpp-server]'")
pytestmark = pytest.mark.engine

TINY = Path(__file__).parents[3] / "profiles" / "models" / "tiny" / "tiny-f16.gguf"
ASK: JsonObject = {"role": "user", "content": "Read a.py"}
CALL: JsonObject = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"id": "1", "type": "function", "function": {"name": "read", "arguments": '{"b": 1, "a": 2}'}}],
}


def start(model: Path) -> Renderer:
    return Renderer.start("backends.workers.llama_cpp_render", "llama-cpp-server", Load(str(model), "", {}))


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    started = start(TINY)
    yield started
    started.close()


def test_a_prompt_is_the_template_of_the_file_and_its_tokens(renderer: Renderer) -> None:
    prompt = renderer.render(Request((ASK, CALL, {"role": "tool", "content": "x = 1", "tool_call_id": "1"})))
    assert prompt.text.startswith("<|im_start|>user\nRead a.py<|im_end|>")
    assert prompt.text.endswith("<|im_start|>assistant\n")
    assert '{"b": 1, "a": 2}' in prompt.text
    assert 20 < len(prompt.token_ids) < len(prompt.text)


def test_the_schema_of_the_server_drops_the_reasoning(renderer: Renderer) -> None:
    thought = {**CALL, "reasoning_content": "I should look at it first."}
    assert renderer.render(Request((ASK, thought, ASK))) == renderer.render(Request((ASK, CALL, ASK)))


def test_what_the_server_refuses_is_refused(renderer: Renderer) -> None:
    with pytest.raises(RequestRejected, match=r"llama_cpp\.server refuses this request: messages\.0"):
        renderer.render(Request(({"role": "nobody", "content": "x"},)))


def test_a_file_that_is_no_model_is_a_failed_launch(tmp_path: Path) -> None:
    (tmp_path / "no.gguf").write_bytes(b"nothing")
    with pytest.raises(LaunchError, match="could not read"):
        start(tmp_path / "no.gguf")
