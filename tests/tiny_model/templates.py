"""Render chats with the shipped templates as Hugging Face and MLX do.

`jinja2` alone is not enough: transformers replaces the `tojson` filter (jinja's own sorts the keys and
escapes HTML), trims blocks and sandboxes. The same settings stand here, so that training text, tests and MLX
agree.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Template
from jinja2.sandbox import ImmutableSandboxedEnvironment

Message = dict[str, Any]
Tool = dict[str, Any]

FOLDER = Path(__file__).parents[2] / "profiles" / "models" / "tiny"
STABLE = FOLDER / "chatml-stable.jinja"
STRIP = FOLDER / "chatml-strip.jinja"


def render(
    messages: list[Message],
    tools: list[Tool] | None = None,
    *,
    generate: bool = False,
    template: Path = STABLE,
) -> str:
    """Return the prompt text of a chat.

    `generate` adds the header of the assistant turn to come. Raises `jinja2.TemplateError` for a chat
    that the template cannot show.
    """
    return _compiled(template).render(messages=messages, tools=tools, add_generation_prompt=generate)


@cache
def _compiled(path: Path) -> Template:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = _as_json
    return environment.from_string(path.read_text())


def _as_json(value: object, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)
