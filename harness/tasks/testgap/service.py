"""Makes one service of the pack from templates: its package, its tests, its gaps and their mutants. Writes nothing.

A variant (`assets/variants.toml`) has a shape (`rotate`: each use gives a successor; `redeem`: a text is used up),
rules that switch parts of the templates on, and its own words and constants.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path

import msgspec

from harness.tasks.testgap.template import GAP_PLACE, fill, holds, select

__all__ = ["Gap", "Mutant", "Service", "gaps_of", "make_service", "variants"]

_ASSETS = Path(__file__).parent / "assets"
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Variant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A domain as `variants.toml` has it."""

    shape: str
    title: str
    rules: frozenset[str]
    words: dict[str, str]


class Mutant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A wrong version of the package: `before` is once in `file`, and `after` stands in its place.

    `also` are other gaps whose tests kill it: it is of use only where they are left out too.
    """

    gap: str
    file: str
    before: str
    after: str
    when: tuple[str, ...] = ()
    also: tuple[str, ...] = ()


class _Mutants(msgspec.Struct, frozen=True):
    mutant: tuple[Mutant, ...]


class Gap(msgspec.Struct, frozen=True):
    """A part of the tests that can be left out: what the comment in its place says, its tests, and its mutants."""

    name: str
    wanted: str
    tests: str
    mutants: tuple[Mutant, ...]


class Service(msgspec.Struct, frozen=True):
    """A whole service: texts of its package and of its tests by path; the tests still have the places of the gaps."""

    title: str
    package: str
    readme: str
    sources: dict[str, str]
    tests: dict[str, str]
    gaps: dict[str, Gap]


@cache
def variants() -> dict[str, Variant]:
    """All domains, by the first part of an instance's name."""
    held = tomllib.loads((_ASSETS / "variants.toml").read_text(encoding="utf-8"))
    return msgspec.convert(held, dict[str, Variant])


def gaps_of(service: Service) -> dict[str, str]:
    """For each gap the test file that has its place, in the order of the files."""
    return {name: path for path, text in service.tests.items() for name in GAP_PLACE.findall(text)}


def make_service(name: str, pause_s: float) -> Service:
    """The service of a domain. `pause_s` is how long a slow test sleeps."""
    variant = variants()[name]
    words = _words(variant, pause_s)

    def made(part: str, wanted: str = "*") -> dict[str, str]:
        files = [
            file for shape in ("shared", variant.shape) for file in (_ASSETS / shape / part).glob(f"{wanted}.tmpl")
        ]
        return {
            file.name.removesuffix(".tmpl"): fill(select(file.read_text(encoding="utf-8"), variant.rules), words)
            for file in sorted(files, key=lambda file: file.name)
        }

    sources = {f"{words['pkg']}/{path}": text for path, text in made("pkg").items()}
    tests = {f"tests/{path}": text for path, text in made("tests").items()}
    gaps: dict[str, Gap] = {}
    for text in tests.values():
        for gap in GAP_PLACE.findall(text):
            wanted, _, code = made("gaps", gap)[gap].partition("\n\n")
            mutants = _mutants(gap, variant, words)
            gaps[gap] = Gap(gap, " ".join(wanted.split()), code.strip("\n") + "\n", mutants)
    return Service(variant.title, words["pkg"], made("root")["README.md"], sources, tests, gaps)


def _mutants(gap: str, variant: Variant, words: dict[str, str]) -> tuple[Mutant, ...]:
    files = [_ASSETS / shape / "mutants.toml" for shape in ("shared", variant.shape)]
    held = [tomllib.loads(file.read_text(encoding="utf-8")) for file in files]
    return tuple(
        msgspec.structs.replace(
            mutant,
            file=f"{words['pkg']}/{mutant.file}",
            before=fill(mutant.before, words),
            after=fill(mutant.after, words),
            when=(),
        )
        for file in held
        for mutant in msgspec.convert(file, _Mutants).mutant
        if mutant.gap == gap and all(holds(condition, variant.rules) for condition in mutant.when)
    )


def _words(variant: Variant, pause_s: float) -> dict[str, str]:
    """The variant's words, and those that follow from them."""
    words, rules = dict(variant.words), variant.rules
    noun, family, verb = words["noun"], words["family"], words["verb"]
    bound, redeem = "bound" in rules, variant.shape == "redeem"
    binding = words.get("binding", "")
    words |= {
        "nouns": f"{noun}s",
        "Noun": f"{noun[0].upper()}{noun[1:]}s",
        "familys": f"{family[:-1]}ies"
        if family.endswith("y")
        else f"{family}es"
        if family[-2:] == "ch"
        else f"{family}s",
        "family_text": (
            f"A {family} is what was created together."
            if redeem
            else f"A {family} begins with one that is issued, and holds all that followed it."
        ),
        "Binding": binding.capitalize(),
        "binding_parameter": f", {binding}: str" if bound else "",
        "binding_argument": f", {binding}" if bound else "",
        "binding_value": ', "cleo"' if bound else "",
        "uses_parameter": ", uses: int = 1" if "uses" in rules else "",
        "same_import": ", same" if rules & {"bound", "own"} else "",
        "started_parameter": ", started_at: float" if "absolute" in rules else "",
        "started_first": ", now" if "absolute" in rules else "",
        "started_next": ", record.started_at" if "absolute" in rules else "",
        "first_environment": words["development"].split('"')[1],
        "lifetime_s": str(_seconds(words["lifetime"])),
        "after_grace": str(_seconds(words.get("grace", "0s")) + 1),
        "expiry_marker": "; a chain ends at its greatest age" if "absolute" in rules else "",
        "limit_marker": (
            ", when the oldest goes" if "limit_evict" in rules else ", which is refused and changes nothing"
        ),
        "hashing_marker": "; a code may be typed in several ways" if "codes" in rules else "",
        "pause_s": f"{pause_s:g}",
    }
    for name in ("ann", "bob", "cem"):
        made = f'service.create("{name}"{words["binding_value"]})[0]' if redeem else None
        words[f"new_{name}"] = made or f'service.issue("{name}"{words["binding_value"]})'
    used = f'service.{verb}(text, "cleo")' if redeem else f"service.{verb}(text{words['binding_value']})"
    words["use_text"] = used
    words["new_works"] = 'service.waiting("cem") == 1 and new' if redeem else 'service.check(new) == "cem"'
    return words


def _seconds(text: str) -> int:
    found = re.fullmatch(r"(\d+)([smhd])", text)
    assert found is not None, text
    return int(found.group(1)) * _SECONDS[found.group(2)]
