"""The closed list: stable codes, one title each, on one side."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from profiler.causes.catalogue import CAUSES, kind_of

PACKAGE = Path(__file__).parents[3] / "profiler" / "causes"


def test_codes_and_names_are_unique() -> None:
    assert len({kind.code for kind in CAUSES}) == len({kind.name for kind in CAUSES}) == len(CAUSES)
    assert all(re.fullmatch(r"[PE]\d{1,2}", kind.code) for kind in CAUSES)


def test_every_code_of_the_list_is_there() -> None:
    codes = {kind.code for kind in CAUSES}
    assert codes == {f"P{n}" for n in range(15)} | {f"E{n}" for n in range(21)}


def test_a_code_says_its_side() -> None:
    assert kind_of("P1").side == "prompt"
    assert kind_of("E20").side == "engine"
    with pytest.raises(KeyError):
        kind_of("E99")


def test_every_engine_cause_has_a_rule_that_names_it() -> None:
    source = "".join(path.read_text() for path in (*PACKAGE.glob("engine_*.py"), PACKAGE / "__init__.py"))
    missing = [kind.code for kind in CAUSES if kind.side == "engine" and f'"{kind.code}"' not in source]
    assert missing == []
