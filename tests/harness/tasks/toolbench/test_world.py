"""What calls bring: the record that fits, the latest that holds, else an error or a receipt of its own."""

from __future__ import annotations

from harness.tasks.base import Call
from harness.tasks.toolbench.world import Record, World, answer, receipt

LOOK = Call("get_price", {"item": "heron-47"})
OPEN = Call("unlock", {"item": "heron-47", "key": "onyx-52"})
BOOK = Call("book_room", {"room": "heron-47", "day": "monday", "time": "10:00", "people": 3})
WORLD = World("salt", (Record(LOOK, "error: locked", ok=False), Record(OPEN, "open"), Record(LOOK, "4127", after=OPEN)))


def test_a_record_holds_only_after_the_call_that_it_waits_for() -> None:
    assert answer(WORLD, LOOK, ()) == ("error: locked", False)
    assert answer(WORLD, LOOK, (LOOK,)) == ("error: locked", False)
    assert answer(WORLD, LOOK, (LOOK, OPEN)) == ("4127", True)


def test_a_wrong_key_opens_nothing() -> None:
    wrong = Call("unlock", {"item": "heron-47", "key": "onyx-53"})
    assert answer(WORLD, wrong, (LOOK,)) == ("error: no item heron-47", False)
    assert answer(WORLD, LOOK, (LOOK, wrong)) == ("error: locked", False)


def test_what_is_not_there_is_an_error_that_names_it() -> None:
    assert answer(WORLD, Call("get_price", {"item": "heron-48"}), ()) == ("error: no item heron-48", False)


def test_a_receipt_depends_on_every_argument_and_on_the_salt() -> None:
    texts = {answer(WORLD, Call(BOOK.name, {**BOOK.arguments, **other}), ())[0] for other in ({}, {"people": 4})}
    assert len(texts | {receipt("other", BOOK)}) == 3
    assert answer(WORLD, BOOK, ()) == (receipt("salt", BOOK), True)


def test_waiting_changes_nothing_unless_it_was_asked_for() -> None:
    assert answer(WORLD, Call("wait", {"seconds": 3}), ()) == ("waited", True)
