from __future__ import annotations

import pytest

from harness.tasks.testgap.template import fill, select


def test_parts_are_for_variants_that_have_them() -> None:
    text = "a\n#[x\nb\n#[!y\nc\n#]\n#]\n#[!x\nd\n#]\n# e\n"
    assert select(text, {"x"}) == "a\nb\nc\n# e\n"
    assert select(text, {"x", "y"}) == "a\nb\n# e\n"
    assert select(text, set()) == "a\nd\n# e\n"


@pytest.mark.parametrize("text", ["#[x\na\n", "a\n#]\n"])
def test_a_part_has_a_beginning_and_an_end(text: str) -> None:
    with pytest.raises(ValueError, match="closed"):
        select(text, {"x"})


def test_words_are_filled_in() -> None:
    assert (
        fill("def test_@@owner@@s(@@x_y@@@@x_y@@): a @ b", {"owner": "user", "x_y": "1"}) == "def test_users(11): a @ b"
    )
    assert fill("A @@x@@ of an @@y@@, a@@y@@, data @@x@@", {"x": "account", "y": "user"}) == (
        "An account of a user, auser, data account"
    )
    with pytest.raises(KeyError):
        fill("@@unknown@@", {})
