"""Text and tokens of one loaded model: its chat template, its tokenizer, its end tokens. Generates nothing.

The template is rendered by the library's own formatter, tokens come from the library's tokenizer.
llama-cpp-python itself adds no BOS to a chat prompt; here one is added where the model asks for it and the
template wrote none, as servers do.
"""

from __future__ import annotations

import ctypes
from typing import Any, cast

import jinja2
import llama_cpp
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

from backends.base import Forced, JsonObject, LaunchError, Request, RequestRejected

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


class ChatText:
    """The chat template and the tokenizer of a model."""

    def __init__(self, llama: llama_cpp.Llama, template: str) -> None:
        self._llama = llama
        vocab = llama_cpp.llama_model_get_vocab(llama.model)
        assert vocab is not None, "a loaded model has a vocabulary"
        self._vocab = vocab
        try:
            self._open, self._closed = (self._formatter(template, add) for add in (True, False))
        except jinja2.TemplateError as error:
            raise LaunchError(f"the chat template is no valid jinja: {error}", hint="check ?template=") from error

    def prompt(self, request: Request) -> str:
        """The prompt of a request, ready for the model's answer.

        Raises:
            RequestRejected: the template refuses the messages.
        """
        return self._render(self._open, request)

    def forced(self, request: Request, reply: JsonObject) -> Forced | None:
        """The output that stands for `reply`: what rendering it adds to the prompt, cut at its end token.

        Its ids are those that the whole text has, not those of the reply alone: the two may differ at the
        seam.
        """
        before = self.prompt(request)
        after = self._render(self._closed, request, reply)
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
        end = added[ends[0]] if ends else self._end_token()
        if end is None:
            return None
        text = b"".join(map(self.piece, ids)).decode("utf-8", "replace")
        return Forced(text=text, token_ids=tuple(ids), end_token_id=end)

    def _formatter(self, template: str, add_generation_prompt: bool) -> Jinja2ChatFormatter:
        bos, eos = self._llama.token_bos(), self._llama.token_eos()
        return Jinja2ChatFormatter(
            template=template,
            bos_token=self._token_text(bos),
            eos_token=self._token_text(eos),
            add_generation_prompt=add_generation_prompt,
        )

    def _render(self, formatter: Jinja2ChatFormatter, request: Request, *more: JsonObject) -> str:
        messages: Any = [*request.messages, *more]
        tools: Any = list(request.tools) or None
        extra: dict[str, Any] = request.parameters.get("chat_template_kwargs") or {}
        try:
            return formatter(messages=messages, tools=tools, **extra).prompt
        except _TEMPLATE_ERRORS as error:
            raise RequestRejected(
                f"the chat template refuses these messages: {error}",
                hint="see ?template= and the message roles",
            ) from error

    def tokenize(self, text: str) -> list[int]:
        """Special tokens are read as such; a BOS is added if the model asks for one and the text has none."""
        tokens = self._llama.tokenize(text.encode(), add_bos=False, special=True)
        bos = self._llama.token_bos()
        if bos >= 0 and llama_cpp.llama_vocab_get_add_bos(self._vocab) and tokens[:1] != [bos]:
            return [bos, *tokens]
        return tokens

    def piece(self, token: int) -> bytes:
        """The bytes of one token, control tokens as their text."""
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = llama_cpp.llama_token_to_piece(self._vocab, token, buffer, size, 0, True)
            if length >= 0:
                return buffer.raw[:length]
            size = -length

    def _token_text(self, token: int) -> str:
        return llama_cpp.llama_vocab_get_text(self._vocab, token).decode() if token >= 0 else ""

    def is_end(self, token: int) -> bool:
        """Whether a token ends a turn or the text."""
        return bool(llama_cpp.llama_vocab_is_eog(self._vocab, token))

    def _end_token(self) -> int | None:
        """The token that ends a turn, else the text; `None` if the model has neither."""
        candidates = (cast("int", llama_cpp.llama_vocab_eot(self._vocab)), self._llama.token_eos())
        return next((token for token in candidates if token >= 0), None)
