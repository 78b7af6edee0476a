"""`dyno template`: does this model's chat template keep the prompt cache of an agent? Nothing is generated."""

from __future__ import annotations

from typing import Annotated

import typer


def template(
    target: Annotated[
        str,
        typer.Argument(
            help="engine:model?key=value, a GGUF file or an MLX model folder, with ?template=FILE for another template",
            show_default=False,
        ),
    ],
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-o", help="Template option (chat_template_kwargs) as key=value; repeatable."),
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object (docs/template.md).")] = False,
) -> None:
    """Say whether each prompt of a growing agent history extends the one before it, and what breaks it.

    Small histories, each with one construct of agent work, are rendered turn by turn by the engine's own template and
    tokenizer. Nothing is generated, so it takes seconds once the model is loaded.
    """
    from harness.cli.template_run import run_template

    run_template(target, option or [], json_output=json_output)
