"""The dialects differ where they say so, and translate programs as they should."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.tasks.speclisp.dialect import Dialect, dialect_of

DIALECTS = tuple(dialect_of(number, 0) for number in range(1, 9))


def test_every_rule_differs_between_instances() -> None:
    for field in Dialect.__struct_fields__:
        assert len({str(getattr(dialect, field)) for dialect in DIALECTS}) > 1, field


def test_no_two_instances_agree_in_a_rule_of_four_kinds() -> None:
    for group in (DIALECTS[:4], DIALECTS[4:]):
        assert {dialect.division for dialect in group} == {"floor", "truncate", "ceiling", "euclid"}
        assert len({dialect.words["def"] for dialect in group}) == 4


def test_no_word_means_two_things_in_a_dialect() -> None:
    for number in range(1, 41):
        words = dialect_of(number, 3).words
        assert len(set(words.values())) == len(words)


def test_another_seed_gives_another_language() -> None:
    assert dialect_of(1, 0) == dialect_of(1, 0)
    assert dialect_of(1, 0) != dialect_of(1, 1)


def test_texts_are_not_translated() -> None:
    dialect = msgspec.structs.replace(DIALECTS[0], words={"car": "head", "true": "yes"})
    assert dialect.translated('(car \'(true "car true" "a\\"car"))') == '(head \'(yes "car true" "a\\"car"))'


@pytest.mark.parametrize(
    ("division", "quotients"),
    [("floor", (3, -4, -4)), ("truncate", (3, -3, -3)), ("ceiling", (4, -3, -3)), ("euclid", (3, -4, -3))],
)
def test_division(division: str, quotients: tuple[int, int, int]) -> None:
    dialect = msgspec.structs.replace(DIALECTS[0], division=division)
    assert (dialect.divided(11, 3), dialect.divided(-11, 3), dialect.divided(11, -3)) == quotients


@given(a=st.integers(-500, 500), b=st.integers(-50, 50).filter(bool))
def test_the_euclidean_remainder_is_never_negative(a: int, b: int) -> None:
    dialect = msgspec.structs.replace(DIALECTS[0], division="euclid")
    assert 0 <= a - b * dialect.divided(a, b) < abs(b)
