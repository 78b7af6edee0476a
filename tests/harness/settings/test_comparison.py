"""Settings as flat levers, their fingerprints and their differences."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from harness.settings import Sampling, Setting, TaskLevers, difference, fingerprint, levers, with_levers


def test_levers_are_flat_and_in_order() -> None:
    flat = levers(Setting(title="x", target={"kv": "q8_0", "ctx": 1}))
    assert list(flat)[:3] == ["task.scope", "task.persona", "skills.bytes"]
    assert list(flat)[-2:] == ["target.ctx", "target.kv"]
    assert flat["skills.files"] == ""
    assert "title" not in flat
    assert "schema" not in flat
    assert msgspec.json.decode(msgspec.json.encode(flat)) == flat


def test_the_fingerprint_is_of_levers_and_texts() -> None:
    first = fingerprint(Setting(), "persona", "skills")
    assert len(first) == 64
    assert fingerprint(Setting(title="another"), "persona", "skills") == first
    others = [
        fingerprint(Setting(task=TaskLevers(scope="open")), "persona", "skills"),
        fingerprint(Setting(), "persona ", "skills"),
        fingerprint(Setting(), "persona", ""),
        fingerprint(Setting(), "", "personaskills"),
        fingerprint(Setting(target={"ctx": 1}), "persona", "skills"),
    ]
    assert len({first, *others}) == 6


def test_the_fingerprint_stays_what_it_was() -> None:
    """Records hold it: if this changes, runs from before can no longer be compared with new ones."""
    assert fingerprint(Setting(), "", "") == "bf3862bf1ece83db2c4800dce8a532c738bfdb272df097c7038b4c13c600f463"


def test_a_difference_names_both_values() -> None:
    other = Setting(task=TaskLevers(persona=""), sampling=Sampling(seed=1), target={"ctx": 1})
    assert difference(Setting(), Setting()) == {}
    assert difference(Setting(), other) == {
        "task.persona": ("engineer", ""),
        "sampling.seed": (None, 1),
        "target.ctx": (None, 1),
    }


@given(st.dictionaries(st.sampled_from(["skills.bytes", "limits.turns", "target.ctx"]), st.integers(1, 10**6)))
def test_what_was_set_is_what_differs(changes: dict[str, int]) -> None:
    changed = with_levers(Setting(), changes)
    found = difference(Setting(), changed)
    assert {name: after for name, (_, after) in found.items()} == {
        name: value for name, value in changes.items() if levers(Setting()).get(name) != value
    }
    assert bool(found) == (fingerprint(Setting(), "", "") != fingerprint(changed, "", ""))
