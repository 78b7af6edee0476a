"""A request that is asked again loses nothing by its text; one whose history was cut loses what is behind the cut."""

from __future__ import annotations

import msgspec
import pytest

from profiler.causes.cases import lost_something, lost_text
from tests.profiler.causes.world import assistant, call, result, system, turn, user

FILE = "\n".join(f"line {n}: the total is {n * 7} cents" for n in range(30))
BEFORE = [system("You are careful."), user("Find the fault."), assistant("I look.", call("read", "{}", "c1"))]
ASKED = [*BEFORE, result(FILE, "c1")]


@pytest.mark.parametrize(("after", "lost"), [(ASKED, False), ([*BEFORE[:2], user("Go on.")], True)])
def test_only_what_is_evaluated_again_is_lost(after: list[dict[str, object]], lost: bool) -> None:
    record = turn(ASKED, assistant("It is line 7, I think, and I shall change it at once."), after).step.record
    assert record.verdict.lost_prompt_side_tokens
    assert lost_text(record.verdict) is lost
    assert lost_something(record) is lost
    engine_lost = msgspec.structs.replace(record.verdict, lost_engine_side_tokens=99)
    assert lost_something(msgspec.structs.replace(record, verdict=engine_lost))
