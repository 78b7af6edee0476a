"""OpenAI's three ways to ask for a reply, by the names that a target gives them."""

from __future__ import annotations

from typing import Literal

from backends.http_chat.chat import CHAT, Form, Renderer, no_prompt
from backends.http_chat.completions import KeptPrompts, completions
from backends.http_chat.responses import RESPONSES, as_items

Api = Literal["chat", "completions", "responses"]


def form_of(api: Api, renderer: Renderer) -> tuple[Form, Renderer]:
    """The form, and the renderer of what the server makes of a request in that form.

    Raises:
        TargetError: completions, of a server whose prompts are not shown.
    """
    if api == "completions":
        kept = renderer if renderer is no_prompt else KeptPrompts(renderer)
        return completions(kept), kept
    if api == "responses":
        return RESPONSES, as_items(renderer)
    return CHAT, renderer
