"""The table of what can be observed, held against the adapters: their classes, options and recorded replies."""

from __future__ import annotations

import re
import typing
from pathlib import Path
from typing import Any

import pytest

from backends import engine_names, load, open_engine
from backends.base import Evidence, Forcer, LogsLoad, Target, TargetError, Unreachable
from backends.discovery.observed import OBSERVED, Observed
from tests.backends.contract import conversation
from tests.backends.recorded import about, exchanges, is_documented, stored
from tests.backends.recorded_http import CHATS, replay

RECORDINGS = Path(__file__).parents[1] / "recordings"
IDS = [f"{row.engine}-{row.way}" for row in OBSERVED]


def engine_class(name: str) -> type[Any]:
    returned: type[Any] = typing.get_type_hints(load(name).open_engine)["return"]
    return returned


def evidence(engine: str) -> list[Evidence]:
    folder = RECORDINGS / engine
    return [e for exchange in exchanges(folder) for e in stored(folder, exchange) if isinstance(e, Evidence)]


def test_every_engine_has_its_rows() -> None:
    assert {row.engine for row in OBSERVED} == set(engine_names())
    ways = [(row.engine, row.way) for row in OBSERVED]
    assert len(ways) == len(set(ways))


@pytest.mark.parametrize("engine", engine_names())
def test_an_engine_is_launched_if_its_recording_was(engine: str) -> None:
    target = about(RECORDINGS / engine).target
    launched = "URL" not in target and "http" not in target
    assert (engine, "launched" if launched else "attached") in {(row.engine, row.way) for row in OBSERVED}
    if not launched:
        assert (engine, "launched") not in {(row.engine, row.way) for row in OBSERVED}


@pytest.mark.parametrize("engine", sorted(set(engine_names()) - {"scripted"}))
def test_an_engine_attaches_if_it_takes_an_address(engine: str) -> None:
    attaches = (engine, "attached") in {(row.engine, row.way) for row in OBSERVED}
    # Nobody listens at the discard port.
    with pytest.raises(Unreachable if attaches else TargetError):
        open_engine(Target(engine, None, "http://127.0.0.1:9", {})).close()


@pytest.mark.parametrize("row", OBSERVED, ids=IDS)
def test_abilities_are_those_of_the_class(row: Observed) -> None:
    offered = engine_class(row.engine)
    assert row.forced is issubclass(offered, Forcer)
    # What an attached server logged while it loaded is not here.
    assert row.load_log is (row.way == "launched" and issubclass(offered, LogsLoad))


@pytest.mark.parametrize("row", OBSERVED, ids=IDS)
def test_cached_tokens_are_in_the_recorded_replies_as_the_row_says(row: Observed) -> None:
    said = evidence(row.engine)
    known = [e for e in said if e.cached_tokens is not None]
    sources = {e.sources["cached_tokens"].partition(":")[0] for e in known}
    if row.cached == "exact":
        assert len(known) == len(said)
        assert sources <= {"exact_inprocess", "scripted"}
    elif row.cached == "reported":
        assert known
        assert not sources & {"exact_inprocess", "scripted"}
    else:
        assert not known


@pytest.mark.parametrize("row", OBSERVED, ids=IDS)
def test_what_is_inferred_has_a_count_of_the_prompt(row: Observed) -> None:
    """The time to the first token says what was evaluated; what was reused is the rest of the prompt."""
    if "inferred" in (row.cached, row.otherwise):
        streams = [e for e in stored(RECORDINGS / row.engine, "streamed") if isinstance(e, Evidence)]
        assert all(e.prompt_tokens is not None for e in streams)


@pytest.mark.parametrize("row", OBSERVED, ids=IDS)
def test_times_are_in_the_recorded_replies_as_the_row_says(row: Observed) -> None:
    timed = any(e.prefill_ns is not None for e in evidence(row.engine))
    assert timed is (row.timings != "no")


@pytest.mark.parametrize("row", OBSERVED, ids=IDS)
def test_what_it_needs_is_a_setting_or_a_flag_that_the_adapter_knows(row: Observed) -> None:
    module = load(row.engine)
    for option in re.findall(r"(\w+)=FILE", row.needs or ""):
        assert option in module.Options.__struct_fields__
    for flag in re.findall(r"--[\w-]+", row.needs or ""):
        assert flag == module.FLAG


@pytest.mark.parametrize("engine", sorted({row.engine for row in OBSERVED if row.prompt == "no"}))
def test_a_prompt_that_is_not_shown_is_not_rendered(engine: str) -> None:
    assert engine in CHATS
    with replay(RECORDINGS / engine, "streamed") as server:
        assert server.render(conversation("observed")) is None


@pytest.mark.parametrize("row", OBSERVED, ids=IDS)
def test_what_was_written_from_a_documentation_is_not_verified(row: Observed) -> None:
    assert row.verified is not is_documented(RECORDINGS / row.engine)
