"""A real llama-server over a model file, for tests and evaluation of the model: its endpoints, asked directly."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from backends.workers.server_process import Options, ServerProcess


class Server:
    """A running llama-server: one method for each endpoint that is needed here."""

    def __init__(self, address: str) -> None:
        self.address = address
        # A connection for each request: llama-server drops kept ones.
        limits = httpx.Limits(max_keepalive_connections=0)
        self._client = httpx.Client(base_url=address, timeout=120.0, trust_env=False, limits=limits)

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        """Post JSON. Raises `httpx.HTTPStatusError` for an error, the server's words as a note."""
        reply = self._client.post(path, json=body)
        try:
            reply.raise_for_status()
        except httpx.HTTPStatusError as error:
            error.add_note(reply.text)
            raise
        parsed: dict[str, Any] = reply.json()
        return parsed

    def prompt(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]], **more: Any) -> str:
        """The prompt text the server makes of a chat, up to and with the header of the assistant turn."""
        return str(self.post("/apply-template", messages=messages, tools=tools, **more)["prompt"])

    def complete(self, prompt: str, tokens: int = 200) -> dict[str, Any]:
        """Continue a text greedily; `content` holds the new text as generated."""
        return self.post("/completion", prompt=prompt, n_predict=tokens, temperature=0.0, cache_prompt=True)

    def chat(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]], tokens: int = 200) -> dict[str, Any]:
        """Answer a chat greedily; returns the assistant message as the server parsed it."""
        body: dict[str, Any] = {"messages": messages, "max_tokens": tokens, "temperature": 0.0}
        if tools:
            body["tools"] = tools
        message: dict[str, Any] = self.post("/v1/chat/completions", **body)["choices"][0]["message"]
        return message

    def close(self) -> None:
        """Close the connections; the server itself is ended by `serving`."""
        self._client.close()


@contextmanager
def serving(model: Path, *, template: Path | None = None, context: int = 4096, slots: int = 1) -> Iterator[Server]:
    """Serve `model` on a free port while the block runs. Raises `LaunchError` if it does not start."""
    # More than one thread gains nothing at this size, and spins against whatever else runs here.
    options = Options(ctx=context, slots=slots, threads=1, template=None if template is None else str(template))
    process = ServerProcess.launch(str(model), options)
    server = Server(process.url)
    try:
        yield server
    finally:
        server.close()
        process.close()
