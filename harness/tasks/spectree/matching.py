"""Compares a specification's words with what an app has: keywords, negation, assignment, twins. Reads no files.

A keyword is a phrase whose words begin those of the text, in order: `undo` fits «undoing», `in a row` itself. What has
to be named is a list of groups of keywords: of each group one has to be there. A task's verifier takes a copy of this
file along.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations

from harness.tasks.spectree.tree import Node

__all__ = ["assign", "content_words", "duplicates", "fits", "mentions", "words"]

_NOISE = frozenset(
    "a an and are as at be by can each every for from has have in into is it its of on or that the their them then "
    "this to user users with when which will must may all any app application system feature support management "
    "handling".split()
)
_NEGATION = frozenset("no not never without neither nor none cannot isn doesn don aren lacks absent free".split())
_TWIN_TITLES = 0.8
_FEWEST_TWIN_WORDS = 3


def words(text: str) -> list[str]:
    """The words of a text in lower case; `camelCase` and `snake_case` are several."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text)
    return re.findall(r"[a-z0-9]+", parted.lower())


def content_words(text: str) -> set[str]:
    """The stems of a text's words that say something."""
    return {_stem(word) for word in words(text) if word not in _NOISE and len(word) > 1}


def fits(text: Sequence[str], keywords: Sequence[Sequence[str]]) -> bool:
    """Whether a text, given as words, has a keyword of every group."""
    return all(any(_has(text, phrase) for phrase in group) for group in keywords)


def mentions(text: str, phrases: Sequence[str]) -> list[str]:
    """The phrases that a text claims: «cloud sync» counts, «works without cloud sync» does not.

    Unlike a keyword, a phrase is whole words; `*` at its end stands for any ending (`sync*`).
    """
    sentences = [words(sentence) for sentence in re.split(r"[.;:!?\n]", text)]
    there = {word for sentence in sentences for word in sentence}
    found = [phrase for phrase in phrases if any(word.startswith(phrase.split()[0].rstrip("*")) for word in there)]
    return [phrase for phrase in found if any(_claims(sentence, phrase) for sentence in sentences)]


def assign(candidates: Sequence[Sequence[int]], capacity: int) -> list[int | None]:
    """One candidate for as many as possible, each used `capacity` times at most (augmenting paths).

    So a single text that names everything stands for a few things, not for all.
    """
    chosen: list[int | None] = [None] * len(candidates)

    def place(item: int, tried: set[int]) -> bool:
        for node in candidates[item]:
            if node in tried:
                continue
            tried.add(node)
            holders = [other for other, taken in enumerate(chosen) if taken == node]
            if len(holders) < capacity or any(place(holder, tried) for holder in holders):
                chosen[item] = node
                return True
        return False

    for item in range(len(candidates)):
        place(item, set())
    return chosen


def duplicates(nodes: Sequence[Node]) -> list[tuple[Node, Node]]:
    """Nodes that repeat an earlier one of their layer, with that one: same title or body, or nearly the same title."""
    found: dict[str, tuple[Node, Node]] = {}
    for first, second in combinations(nodes, 2):
        if first.layer == second.layer and second.path not in found and _are_twins(first, second):
            found[second.path] = (second, first)
    return list(found.values())


def _are_twins(first: Node, second: Node) -> bool:
    # Requirements of two features may have one title («Limits»), not one text.
    same_parent = first.layer != "requirement" or first.parent == second.parent
    if same_parent and words(first.title) == words(second.title) and first.title:
        return True
    bodies = words(first.body), words(second.body)
    if bodies[0] == bodies[1] and len(bodies[0]) > _FEWEST_TWIN_WORDS:
        return True
    titles = content_words(first.title), content_words(second.title)
    if not same_parent or min(map(len, titles)) < _FEWEST_TWIN_WORDS:
        return False
    return len(titles[0] & titles[1]) >= _TWIN_TITLES * len(titles[0] | titles[1])


def _claims(sentence: Sequence[str], phrase: str) -> bool:
    parts = tuple(phrase.removesuffix("*").split())
    whole = len(parts) - phrase.endswith("*")
    places = [at for at in _places(sentence, parts) if tuple(sentence[at : at + whole]) == parts[:whole]]
    return any(not _NEGATION & set(sentence[:at]) for at in places)


def _has(text: Sequence[str], phrase: str) -> bool:
    return bool(_places(text, tuple(phrase.split())))


def _places(text: Sequence[str], parts: Sequence[str]) -> list[int]:
    last = len(text) - len(parts)
    starts = [at for at, word in enumerate(text) if at <= last and word.startswith(parts[0])]
    return [at for at in starts if all(text[at + k].startswith(part) for k, part in enumerate(parts))]


def _stem(word: str) -> str:
    for ending in ("ions", "ion", "ings", "ing", "ies", "ers", "er", "ed", "es", "s", "y", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word
