"""The tables of `dyno doctor --sandbox`: what was tried against each back end, what happened, what held."""

from __future__ import annotations

from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.sandbox.choice import Survey, Trial
from harness.sandbox.landlock import HINT

__all__ = ["print_survey"]

_WORDS: Final = {True: ("held", "green"), False: ("NOT held", "bold red"), None: ("not applicable", "dim")}
_LOOPBACK: Final = {True: ("works", "green"), False: ("missing", "yellow"), None: ("not applicable", "dim")}


def print_survey(survey: Survey, console: Console | None = None) -> None:
    """Print the verdict, then a table for each back end, the one that is used first."""
    console = console or Console(highlight=False)
    console.print(_verdict(survey), soft_wrap=True)
    for trial in sorted(survey.trials, key=lambda trial: trial.backend != survey.chosen):
        console.print()
        if trial.fault is not None:
            console.print(
                Text.assemble((trial.backend, "bold"), f": does not work here: {trial.fault}"), soft_wrap=True
            )
        else:
            console.print(_table(trial, used=trial.backend == survey.chosen))
    if survey.chosen is None:
        console.print(Text(f"\nnext: {HINT}"), soft_wrap=True)


def _verdict(survey: Survey) -> Text:
    who = "root" if survey.user == "root" else "an ordinary user"
    if survey.chosen is None:
        return Text.assemble(("NO SANDBOX", "bold red"), f" works here for {who}: model-written code is not run")
    if survey.leaks:
        names = ", ".join(attempt.tried for attempt in survey.leaks)
        return Text.assemble(("LEAKS", "bold red"), f"  {survey.chosen}, for {who}, does not hold: {names}")
    return Text.assemble(("HOLDS", "bold green"), f"  {survey.chosen}, for {who}, held every attempt to break out")


def _table(trial: Trial, *, used: bool) -> Table:
    attacks = [attempt for attempt in trial.attempts if attempt.capability != "loopback" and attempt.held is not None]
    title = (
        f"{trial.backend}{' (used)' if used else ''}: {len(attacks) - len(trial.let_through)} of {len(attacks)} held"
    )
    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold", style="dim")
    for attempt in trial.attempts:
        words = _LOOPBACK if attempt.capability == "loopback" else _WORDS
        word, style = words[attempt.held]
        table.add_row(Text(word, style), attempt.tried, attempt.happened)
    return table
