"""Text and tokens of an MLX model folder: its chat template, its tokenizer, its end tokens. Generates nothing.

Messages are prepared, rendered and tokenized as mlx_lm.server does it, so that this prompt is also that server's:
arguments of tool calls are parsed before the template sees them, lists of text parts are joined.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import jinja2

from backends.base import Forced, JsonObject, LaunchError, Request, RequestRejected
from backends.workers.frames import Rendered, pack_ids
from backends.workers.mlx_library import load_config, load_tokenizer

# Whatever a template of someone else's may raise while it renders.
_TEMPLATE_ERRORS = (
    jinja2.TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)


class MlxText:
    """The chat template and the tokenizer of a model folder."""

    def __init__(self, folder: str, template: str) -> None:
        """Load the tokenizer; an empty `template` is the model's own. Raises `LaunchError`."""
        try:
            ends = load_config(Path(folder)).get("eos_token_id")
            self._tokenizer: Any = load_tokenizer(
                Path(folder), eos_token_ids=ends if isinstance(ends, list) else [ends]
            )
        except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
            raise LaunchError(f"mlx-lm could not load the tokenizer of {folder}: {error}") from error
        self._ends: frozenset[int] = frozenset(end for end in self._tokenizer.eos_token_ids if end is not None)
        self._eos: int | None = self._tokenizer.eos_token_id
        self._template = template
        if not template and not self._tokenizer.has_chat_template:
            raise LaunchError(f"the model {folder} has no chat template", hint="add ?template=FILE.jinja")

    def detokenizer(self) -> Any:
        """mlx-lm's own detokenizer, ready for a new reply: whole characters; a space that opens a reply is dropped."""
        detokenizer = self._tokenizer.detokenizer
        detokenizer.reset()
        return detokenizer

    def prompt(self, request: Request) -> str:
        """The prompt of a request, ready for the model's answer.

        Raises:
            RequestRejected: the template refuses the messages.
        """
        return self._render(request, request.messages, generate=True)

    def rendered(self, request: Request) -> Rendered:
        """The prompt of a request with its tokens; raises as `prompt`."""
        text = self.prompt(request)
        return Rendered(text, pack_ids(self.tokenize(text)))

    def tokenize(self, text: str) -> list[int]:
        """Special tokens are read as such; none is added, as in mlx-lm."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return ids

    def is_end(self, token: int) -> bool:
        """Whether a token ends a reply."""
        return token in self._ends

    def forced(self, request: Request, reply: JsonObject) -> Forced | None:
        """The output that stands for `reply`: what rendering it adds to the prompt, cut at its end token.

        `None` if the template does not extend the prompt by it, if its tokens merge with the prompt's, or if the
        reply itself holds an end token.
        """
        before = self.prompt(request)
        after = self._render(request, (*request.messages, reply), generate=False)
        if not after.startswith(before):
            return None
        prompt, whole = self.tokenize(before), self.tokenize(after)
        if whole[: len(prompt)] != prompt:
            return None
        added = whole[len(prompt) :]
        ends = [at for at, token in enumerate(added) if self.is_end(token)]
        if len(ends) > 1:
            return None
        ids = added[: ends[0]] if ends else added
        end = added[ends[0]] if ends else self._eos
        if end is None:
            return None
        return Forced(text=self._tokenizer.decode(ids), token_ids=tuple(ids), end_token_id=end)

    def _render(self, request: Request, messages: tuple[JsonObject, ...], *, generate: bool) -> str:
        extra: dict[str, Any] = request.parameters.get("chat_template_kwargs") or {}
        if self._template:
            extra = {"chat_template": self._template, **extra}
        try:
            text: str = self._tokenizer.apply_chat_template(
                [_prepared(message) for message in messages],
                tools=list(request.tools) or None,
                add_generation_prompt=generate,
                tokenize=False,
                **extra,
            )
        except _TEMPLATE_ERRORS as error:
            raise RequestRejected(
                f"the chat template refuses these messages: {error}",
                hint="see ?template= and the message roles",
            ) from error
        return text


def _prepared(message: JsonObject) -> JsonObject:
    """A message as `mlx_lm.server.process_message_content` leaves it; the message itself is not changed.

    Raises:
        ValueError, KeyError: it has no role, parts that are not text, or arguments that are not JSON.
    """
    content = message.get("content")
    if isinstance(content, list):
        parts = cast("list[JsonObject]", content)
        if any(part.get("type") != "text" for part in parts):
            raise ValueError("only parts of type text are supported")
        content = "".join(part["text"] for part in parts)
    if not isinstance(message["role"], str) or not isinstance(content, str | None):
        raise ValueError("role and content must be text")
    prepared = {**message, "content": content or ""}
    if calls := message.get("tool_calls"):
        prepared["tool_calls"] = [_with_arguments(call) for call in calls]
    return prepared


def _with_arguments(call: JsonObject) -> JsonObject:
    function: JsonObject = call.get("function") or {}
    arguments = function.get("arguments")
    if not isinstance(arguments, str) or not arguments:
        return call
    return {**call, "function": {**function, "arguments": json.loads(arguments)}}
