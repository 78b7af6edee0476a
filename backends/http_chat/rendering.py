"""Prompts by the server's own template and tokenizer: llama-server's two endpoints, or vLLM's one. Guesses nothing."""

from __future__ import annotations

from array import array

import msgspec

from backends.base import EngineFault, JsonObject, Prompt, Request
from backends.http_chat.chat import Renderer, no_prompt
from backends.http_chat.connection import Connection

_PROBE: JsonObject = {"messages": [{"role": "user", "content": "x"}]}


def find_renderer(connection: Connection, model: str | None, *, prefix: str = "") -> Renderer:
    """The way in which this server shows its prompts; one that always says `None` if it does not.

    `prefix` goes before the paths, for a server behind another one.
    """
    probe = {**_PROBE, "model": model} if model else _PROBE
    templated = connection.offers("POST", f"{prefix}/apply-template", probe)
    if templated is not None and isinstance(templated.get("prompt"), str):
        return _Templated(connection, prefix)
    tokenized = connection.offers("POST", f"{prefix}/tokenize", probe)
    if tokenized is not None and isinstance(tokenized.get("tokens"), list):
        return _Tokenized(connection, model, prefix)
    return no_prompt


class _Templated:
    """llama-server: `/apply-template`, then `/tokenize` of its text."""

    def __init__(self, connection: Connection, prefix: str) -> None:
        self._connection = connection
        self._prefix = prefix

    def __call__(self, request: Request) -> Prompt:
        text = str(self._connection.json("POST", f"{self._prefix}/apply-template", _prompt_body(request))["prompt"])
        asked = {"content": text, "add_special": True, "parse_special": True}
        tokens = self._connection.json("POST", f"{self._prefix}/tokenize", asked).get("tokens")
        return Prompt(text=text, token_ids=_ids(tokens))


class _Tokenized:
    """vLLM: `/tokenize` takes messages and tools; `/detokenize` gives the text back."""

    def __init__(self, connection: Connection, model: str | None, prefix: str) -> None:
        self._connection = connection
        self._model = {"model": model} if model else {}
        self._prefix = prefix

    def __call__(self, request: Request) -> Prompt:
        body = {**_prompt_body(request), **self._model, "add_generation_prompt": True}
        ids = _ids(self._connection.json("POST", f"{self._prefix}/tokenize", body).get("tokens"))
        asked = {**self._model, "tokens": list(ids)}
        text = self._connection.json("POST", f"{self._prefix}/detokenize", asked).get("prompt")
        return Prompt(text=str(text or ""), token_ids=ids)


def _prompt_body(request: Request) -> JsonObject:
    body: JsonObject = {"messages": list(request.messages), **request.parameters}
    if request.tools:
        body["tools"] = list(request.tools)
    return body


def _ids(tokens: object) -> array[int]:
    try:
        return array("i", msgspec.convert(tokens, list[int]))
    except msgspec.ValidationError as error:
        raise EngineFault(f"/tokenize answered no list of token ids ({error})") from error
