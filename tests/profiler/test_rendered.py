"""Prompts come back from their bytes as they were."""

from __future__ import annotations

from array import array

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.rendered import Rendered

IDS = st.lists(st.integers(-(2**31), 2**31 - 1)).map(lambda ids: array("i", ids))


@given(st.text(), IDS, st.none() | IDS)
def test_round_trip(text: str, ids: array[int], generated: array[int] | None) -> None:
    rendered = Rendered(text, ids, generated)
    back = Rendered.decoded(rendered.encoded())
    assert back.token_ids == ids
    assert back.generated_ids == generated
    assert back.text == text.encode("utf-8", "replace").decode()


def test_half_a_surrogate_pair_is_kept_as_a_question_mark() -> None:
    assert Rendered.decoded(Rendered("a\ud800b", array("i")).encoded()).text == "a?b"


def test_the_sequence_is_prompt_and_reply() -> None:
    assert Rendered("", array("i", [1, 2]), array("i", [3])).sequence == array("i", [1, 2, 3])
    assert Rendered("", array("i", [1, 2])).sequence == array("i", [1, 2])


@pytest.mark.parametrize("data", [b"", b"\x93", b"\x93\xc4\x01a\xc4\x01b\xc0"])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, ValueError)):
        Rendered.decoded(data)
