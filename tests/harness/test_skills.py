"""Skill texts: as many bytes as asked for, in whole sections and paragraphs, the same each time."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.settings import SettingError, Skills
from harness.skills import find_skills, select_skills, skill_text

PACKS = ("testgap", "debug", "speclisp", "spectree", "levels", "crud", "toolbench", "ctxgrow")
LONGEST_PARAGRAPH_BYTES = 1500


def test_there_is_enough_of_both_kinds() -> None:
    skills = find_skills()
    for bloat in (True, False):
        texts = [skill.text for skill in skills if bool(skill.packs) is not bloat]
        assert sum(len(text.encode()) for text in texts) >= 52_000
    for skill in skills:
        assert skill.name
        assert skill.description
        assert skill.text.startswith("# ")
        assert skill.text.count("\n## ") >= 3
        assert set(skill.packs) <= set(PACKS)
        assert 2_000 <= len(skill.text.encode()) <= 8_000
    assert {pack for skill in skills for pack in skill.packs} == set(PACKS)


def test_no_paragraph_is_there_twice() -> None:
    paragraphs = [part for skill in find_skills() for part in skill.text.split("\n\n") if len(part) > 60]
    assert len(set(paragraphs)) == len(paragraphs)


@pytest.mark.parametrize("pack", PACKS)
def test_the_packs_own_come_first(pack: str) -> None:
    chosen = select_skills(Skills(bytes=18_000), pack)
    own = {skill.name for skill in find_skills() if pack in skill.packs}
    assert chosen.names[0] in own
    assert [name in own for name in chosen.names] == sorted((name in own for name in chosen.names), reverse=True)
    assert 18_000 - LONGEST_PARAGRAPH_BYTES <= chosen.bytes <= 18_000


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 52_000), st.sampled_from(["relevant", "bloat"]), st.sampled_from([*PACKS, "mine"]))
def test_it_is_as_near_as_paragraphs_allow(wanted: int, kind: str, pack: str) -> None:
    levers = Skills(bytes=wanted, kind="bloat" if kind == "bloat" else "relevant")
    chosen = select_skills(levers, pack)
    assert chosen == select_skills(levers, pack)
    assert wanted - LONGEST_PARAGRAPH_BYTES <= chosen.bytes <= wanted
    assert chosen.text.count("```") % 2 == 0, "code that was cut open"
    longer = skill_text(Skills(bytes=min(52_000, wanted + 300), kind=levers.kind), pack)
    assert longer.startswith(chosen.text.rstrip("\n"))


def test_none_at_all() -> None:
    assert select_skills(Skills(), "debug").text == ""
    assert select_skills(Skills(), "debug").names == ()


def test_more_than_there_is() -> None:
    with pytest.raises(
        SettingError, match=r"90000 bytes of skills are asked for, and the bloat skills have \d{5}"
    ) as caught:
        select_skills(Skills(bytes=90_000, kind="bloat"), "debug")
    assert "at most" in str(caught.value.hint)


def test_named_files(tmp_path: Path) -> None:
    mine = tmp_path / "mine.md"
    mine.write_text(
        "---\nname: own\nallowed-tools:\n  - Read\n---\nIntro.\n\n## One\n\nText.\n\n```sh\n## no heading\n```\n"
    )
    whole = select_skills(Skills(files=(str(mine), "css-layout")), "debug")
    assert whole.names == ("own", "css-layout")
    assert whole.text.startswith("Intro.\n\n## One\n")
    assert whole.bytes == whole.available_bytes
    part = select_skills(Skills(files=(str(mine),), bytes=25), "debug")
    assert part.text == "Intro.\n\n## One\n\nText.\n\n"[:25]
    with pytest.raises(SettingError, match="the named files have"):
        select_skills(Skills(files=(str(mine),), bytes=9_000), "debug")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("css-layuot", "did you mean css-layout?"), ("zzz", "there are: "), ("no/such.md", "there are: ")],
)
def test_a_file_that_is_not_there(name: str, hint: str) -> None:
    with pytest.raises(SettingError, match="which is not there") as caught:
        select_skills(Skills(files=(name,)), "debug")
    assert hint in str(caught.value.hint)


def test_a_file_without_text(tmp_path: Path) -> None:
    (tmp_path / "empty.md").write_text("---\nname: x\n---\n")
    with pytest.raises(SettingError, match="holds no text"):
        select_skills(Skills(files=(str(tmp_path / "empty.md"),)), "debug")
