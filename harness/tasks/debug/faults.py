"""A fault that can be planted in a project, and the edits that plant and repair it. Draws nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

__all__ = ["Fault", "planted", "repair"]


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text that is once in a file, what stands in its place, and the tests (`file::name`) that then fail."""

    file: str
    function: str
    before: str
    after: str
    note: str
    breaks: tuple[str, ...]


def planted(project: Mapping[str, str], faults: Sequence[Fault]) -> dict[str, str]:
    """The project with its faults.

    Raises:
        ValueError: the text of a fault is not in its file exactly once.
    """
    texts = dict(project)
    for fault in faults:
        if texts[fault.file].count(fault.before) != 1:
            raise ValueError(f"{fault.file}: {fault.before!r} is not there exactly once")
        texts[fault.file] = texts[fault.file].replace(fault.before, fault.after)
    return texts


def repair(broken: str, repaired: str) -> tuple[str, str]:
    """The edit (old text, new text) that leads from one text to the other: whole lines, and an old text that is unique.

    Raises:
        ValueError: the texts are equal.
    """
    old, new = broken.splitlines(keepends=True), repaired.splitlines(keepends=True)
    if old == new:
        raise ValueError("nothing to repair")
    shortest = min(len(old), len(new))
    first = next((n for n in range(shortest) if old[n] != new[n]), shortest)
    end = next((n for n in range(shortest - first) if old[-1 - n] != new[-1 - n]), shortest - first)
    while True:
        text = "".join(old[first : len(old) - end])
        if text and broken.find(text) == broken.rfind(text):
            return text, "".join(new[first : len(new) - end])
        first, end = max(0, first - 1), end if first else end - 1
