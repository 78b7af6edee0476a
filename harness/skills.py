"""Skill texts for the system prompt: so many bytes of real skill files, chosen in a fixed order. Writes no prompt.

A skill is a Markdown file in `profiles/skills`, as agents load them. Its head says `name`, `description` and `packs`,
the task packs that it is about; with no packs it is bloat: true and useful, only not for these tasks. For a pack its
own skills come first, then those of other packs; in both those that name the fewest packs lead, then by name.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path

import msgspec

from harness.front_matter import split_front_matter, words_of
from harness.settings import SettingError, Skills

__all__ = ["BUNDLED", "Selection", "Skill", "find_skills", "select_skills", "skill_text"]

BUNDLED = Path(__file__).parent.parent / "profiles" / "skills"


class Skill(msgspec.Struct, frozen=True):
    """A skill's file: what it is about, and its text without the head."""

    name: str
    description: str
    packs: tuple[str, ...]
    text: str


class Selection(msgspec.Struct, frozen=True):
    """The skill text of a prompt, the names of the skills in it, and how many bytes there were to choose from."""

    text: str
    names: tuple[str, ...]
    available_bytes: int

    @property
    def bytes(self) -> int:
        """Size of the text in UTF-8."""
        return len(self.text.encode("utf-8"))


def skill_text(levers: Skills, pack: str) -> str:
    """The text of `select_skills`. Raises SettingError as that does."""
    return select_skills(levers, pack).text


def select_skills(levers: Skills, pack: str) -> Selection:
    """Whole sections in the fixed order as long as they fit into `bytes`, then whole paragraphs of the next section.

    With `files` it is those, in the order in which they are named, and all of them if `bytes` is 0.

    Raises:
        SettingError: a named file is missing or no skill, or fewer bytes are there than are asked for (says how many).
    """
    if not levers.files and not levers.bytes:
        return Selection("", (), 0)
    skills = tuple(map(_named, levers.files)) if levers.files else _chosen(levers.kind, pack)
    pieces = [(skill.name, section) for skill in skills for section in _sections(skill)]
    available = sum(map(_size, (section for _, section in pieces)))
    wanted = levers.bytes or available
    if wanted > available:
        what = "the named files" if levers.files else f"the {levers.kind} skills"
        hint = f"set skills.bytes to at most {available}, or name further files in skills.files"
        raise SettingError(f"{wanted} bytes of skills are asked for, and {what} have {available}", hint=hint)
    taken: list[tuple[str, str]] = []
    for name, section in pieces:
        fitting = section if _size(section) <= wanted else _paragraphs(section, wanted)
        if fitting:
            taken.append((name, fitting))
        wanted -= _size(fitting)
        if fitting != section:
            break
    return Selection("".join(text for _, text in taken), tuple(dict.fromkeys(name for name, _ in taken)), available)


def find_skills() -> tuple[Skill, ...]:
    """All bundled skills, by name."""
    return tuple(_read(path) for path in sorted(BUNDLED.glob("*.md")))


def _chosen(kind: str, pack: str) -> tuple[Skill, ...]:
    skills = [skill for skill in find_skills() if bool(skill.packs) == (kind == "relevant")]
    return tuple(sorted(skills, key=lambda skill: (pack not in skill.packs, len(skill.packs), skill.name)))


def _named(text: str) -> Skill:
    is_path = text.endswith(".md") or "/" in text
    path = Path(text).expanduser() if is_path else BUNDLED / f"{text}.md"
    if not path.is_file():
        names = sorted(path.stem for path in BUNDLED.glob("*.md"))
        near = difflib.get_close_matches(text, names, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(names)}; or write the path of a file"
        raise SettingError(f"skills.files names {text!r}, which is not there", hint=hint)
    return _read(path)


def _read(path: Path) -> Skill:
    try:
        head, text = split_front_matter(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"skill {path}: {error}", hint="a skill is a Markdown file in UTF-8") from error
    if not text.strip():
        raise SettingError(f"skill {path} holds no text", hint="a skill has a head and sections that start with ##")
    return Skill(head.get("name", path.stem), head.get("description", ""), words_of(head.get("packs", "")), text)


def _sections(skill: Skill) -> list[str]:
    """A skill's text from one `## ` heading to the next; headings inside of fenced code are none."""
    sections: list[str] = []
    fenced = False
    for line in skill.text.rstrip("\n").splitlines(keepends=True):
        if (line.startswith("## ") and not fenced) or not sections:
            sections.append("")
        fenced ^= line.startswith("```")
        sections[-1] += line
    return [section.rstrip("\n") + "\n\n" for section in sections]


def _paragraphs(section: str, most_bytes: int) -> str:
    """The first paragraphs of a section that fit, with the heading only if something follows it; a fence is one."""
    taken = ""
    for paragraph in re.findall(r"(?:^```.*?^```[^\n]*\n|^[^\n]+\n)+\n*", section, re.DOTALL | re.MULTILINE):
        if _size(taken) + _size(paragraph) > most_bytes:
            break
        taken += paragraph
    return taken if taken.strip().count("\n") else ""


def _size(text: str) -> int:
    return len(text.encode("utf-8"))
