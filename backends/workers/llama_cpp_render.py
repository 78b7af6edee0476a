"""The worker that renders prompts for a llama_cpp.server (`python -m backends.workers.llama_cpp_render`): no weights.

A request takes the server's own way, through its schema and the library's chat format, up to where tokens would be
evaluated. The schema knows no `reasoning_content` (0.3.36): the server drops a model's reasoning from the history,
whatever the client sends. It generates nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import jinja2
import llama_cpp
import pydantic
from llama_cpp.server.types import CreateChatCompletionRequest

from backends.base import EngineFault, Forced, JsonObject, LaunchError, Request, RequestRejected
from backends.workers.frames import Began, Ended, Load, Piece, Ready, Rendered, pack_ids
from backends.workers.serving import serve

_CONTEXT_TOKENS = 8
"""Nothing is evaluated: as small a context as can be made."""
_LOAD_ERRORS = (OSError, ValueError, RuntimeError, jinja2.TemplateError)
_CHAT_ERRORS = (
    jinja2.TemplateError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError,
)  # fmt: skip
_OF_PROMPTS = ("messages", "tools", "tool_choice", "functions", "function_call")


class _Tokenized(Exception):
    """A chat has become the tokens of a prompt."""

    def __init__(self, token_ids: list[int]) -> None:
        super().__init__(f"{len(token_ids)} tokens")
        self.token_ids = token_ids


class _Vocabulary(llama_cpp.Llama):
    """A model without its weights, which stops where it would be asked to complete a prompt."""

    def create_completion(self, prompt: Any, *_: Any, **__: Any) -> NoReturn:
        raise _Tokenized(list(prompt))


class Renderer:
    """The text side of a model file, as llama_cpp.server has it."""

    def __init__(self, model: str) -> None:
        try:
            self._llama = _Vocabulary(model, vocab_only=True, n_ctx=_CONTEXT_TOKENS, verbose=False)
        except _LOAD_ERRORS as error:
            raise LaunchError(f"llama-cpp-python could not read {model}: {error}") from error

    def ready(self) -> Ready:
        """The version; context and cache are the server's and are not known here (0, full)."""
        return Ready(build=f"llama-cpp-python {llama_cpp.__version__}", context_tokens=0, cache_kind="full")

    def rendered(self, request: Request) -> Rendered:
        """The prompt of a request.

        Raises:
            RequestRejected: messages that the server's schema or the template refuses.
        """
        sent = {"messages": list(request.messages), "tools": list(request.tools) or None, **request.parameters}
        try:
            body = CreateChatCompletionRequest.model_validate(sent).model_dump()
            self._llama.create_chat_completion(**{key: body[key] for key in _OF_PROMPTS})
        except _Tokenized as found:
            text = self._llama.detokenize(found.token_ids, special=True)
            return Rendered(text.decode("utf-8", "replace"), pack_ids(found.token_ids))
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise RequestRejected(f"llama_cpp.server refuses this request: {place}: {first['msg']}") from error
        except _CHAT_ERRORS as error:
            raise RequestRejected(f"the chat template refuses these messages: {error}") from error
        raise EngineFault(f"llama-cpp-python made no prompt of {json.dumps(sent)[:200]}", hint="report this")

    def forced(self, request: Request, reply: JsonObject) -> Forced | None:
        """The server's output cannot be forced."""
        return None

    def generate(self, serial: int, request: Request, aborted: Callable[[], bool]) -> Iterator[Began | Piece | Ended]:
        """The server generates. Raises `EngineFault`."""
        raise EngineFault("this worker renders prompts and generates nothing")

    def reset(self) -> None:
        """There is no cache here. Raises `EngineFault`."""
        raise EngineFault("this worker has no cache")


def load(order: Load) -> Renderer:
    """The renderer of an order."""
    return Renderer(order.model)


if __name__ == "__main__":
    serve(load)
