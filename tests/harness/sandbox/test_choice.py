"""Which back end is used, and what `dyno doctor --sandbox` prints."""

from __future__ import annotations

import io
import json
import re

import msgspec
import pytest
from rich.console import Console
from typer.testing import CliRunner

from harness.cli import app
from harness.cli.sandbox_tables import print_survey
from harness.sandbox.battery import ATTEMPTS, Attempt, capabilities_of
from harness.sandbox.choice import Survey, Trial, best_of, choose
from tests.harness.sandbox.back_ends import namespaces_work
from tests.schema_file import check_schema_file


def trial(name: str, *through: str, fault: str | None = None) -> Trial:
    """A back end that lets these attempts through."""
    if fault is not None:
        return Trial(name, fault=fault)
    attempts = tuple(
        Attempt(attempt, capability, tried, attempt not in through, "so it is")
        for attempt, (capability, tried) in ATTEMPTS.items()
    )
    return Trial(name, attempts, capabilities_of(name, attempts))


def shown(survey: Survey) -> str:
    out = io.StringIO()
    print_survey(survey, Console(file=out, width=100, highlight=False))
    return out.getvalue()


def test_the_one_that_lets_least_through_is_used_and_the_first_of_equals() -> None:
    leaky, good, same = trial("a", "udp", "see_sibling"), trial("b", "udp"), trial("c", "tcp")
    assert best_of((leaky, good, same)) is good
    assert best_of((trial("d", fault="forbidden"), leaky)) is leaky


def test_one_that_can_be_written_outside_is_never_used() -> None:
    assert best_of((trial("a", "write_new"), trial("b", fault="forbidden"))) is None


def test_a_capability_needs_every_attempt_and_at_least_one() -> None:
    held = trial("a").capabilities
    assert held is not None
    assert all(msgspec.structs.asdict(held).values())
    broken = trial("a", "hard_link", "loopback").capabilities
    assert broken is not None
    assert (broken.writes_confined, broken.loopback, broken.reads_confined) == (False, False, True)
    assert not capabilities_of("a", ()).reads_confined
    not_made = (Attempt("udp", "network_closed", "", None, "no network"),)
    assert not capabilities_of("a", not_made).network_closed


def test_a_missing_loopback_lets_nothing_through() -> None:
    assert trial("a", "loopback").let_through == ()


def test_the_tables() -> None:
    survey = Survey(
        "ordinary", "good", (trial("leaky", "udp"), trial("good", "loopback"), trial("bad", fault="no way"))
    )
    text, n = shown(survey), len(ATTEMPTS) - 1
    assert text.startswith("HOLDS  good, for an ordinary user,")
    assert (
        text.index(f"good (used): {n} of {n} held")
        < text.index(f"leaky: {n - 1} of {n} held")
        < text.index("bad: does not work")
    )
    assert re.search(r"NOT held +send a UDP packet", text)
    assert re.search(r"missing +reach a server inside", text)


def test_the_verdict_names_what_leaks_and_what_to_do() -> None:
    assert shown(Survey("root", "a", (trial("a", "udp"),))).startswith("LEAKS  a, for root, does not hold: send a UDP")
    nothing = shown(Survey("root", None, (trial("a", fault="forbidden"),)))
    assert nothing.startswith("NO SANDBOX")
    assert "--unsafe-no-sandbox" in nothing


def test_the_schema_file_is_current() -> None:
    check_schema_file("sandbox", Survey)


@pytest.mark.skipif(not namespaces_work(), reason="user namespaces are forbidden here")
def test_a_sandbox_is_chosen_once() -> None:
    sandbox, capabilities = choose()
    assert sandbox.name == capabilities.backend
    assert capabilities.writes_confined
    assert capabilities.reads_confined
    assert choose()[0] is sandbox


@pytest.mark.slow
@pytest.mark.skipif(not namespaces_work(), reason="user namespaces are forbidden here")
def test_the_command() -> None:
    result = CliRunner().invoke(app, ["doctor", "--sandbox", "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["chosen"] is not None
