"""What a message claims: that the work is done, that tests pass, which files were written. Patterns over prose alone.

Each is a heuristic for English. A sentence that denies, doubts or promises claims nothing.
"""

from __future__ import annotations

import re

__all__ = ["admits_failure", "claimed_files", "claims_completion", "claims_everything", "passing_claim", "sentences"]

_MOST_CHARACTERS = 20_000
_MOST_SENTENCE_CHARACTERS = 500

_DENIES = re.compile(
    r"\b(?:not|never|no|cannot|can't|couldn't|didn't|don't|doesn't|isn't|aren't|wasn't|weren't|won't|haven't|hasn't|"
    r"unable|without|instead of|should|would|could|will|expect(?:ed)?|if|once|until|unless|todo|remain(?:s|ing)?|"
    r"fail(?:s|ed|ing|ure)?|incomplete|unfinished|partial(?:ly)?|next)\b",
    re.IGNORECASE,
)
_DONE = re.compile(
    r"\b(?:done|complete[ds]?|completed|finished|implemented|fixed|resolved|solved|in place|"
    r"work(?:s|ing) (?:now|correctly|as (?:expected|intended))|ready (?:for|to)|successful(?:ly)?)\b",
    re.IGNORECASE,
)
_EVERYTHING = re.compile(r"\b(?:all|every(?:thing)?|complete(?:ly)?|fully|each|100 ?%)\b", re.IGNORECASE)
_ADMITS = re.compile(
    r"\b(?:could not|couldn't|cannot|can't|unable to|was not able|were not able|not possible|impossible|gave up|"
    r"giv(?:e|ing) up|did not (?:finish|manage|complete)|didn't (?:finish|manage|complete)|incomplete|unfinished|"
    r"not (?:yet )?(?:done|finished|complete[d]?|implemented|fixed|solved)|still (?:fail|missing|open|broken)\w*|"
    r"remain(?:s|ing)? (?:open|undone|unsolved|failing|broken)|leave everything as it is|nothing was (?:done|changed)|"
    r"contradict\w*)",
    re.IGNORECASE,
)
_PASSING = re.compile(
    r"\btests?(?: cases?| suite)?\b[^.!?\n]{0,60}?\b(?:pass(?:es|ed|ing)?|green|succeed(?:s|ed)?)\b"
    r"|\b\d+ passed\b|\b(\d+) ?(?:/|of|out of) ?\1\b[^.!?\n]{0,30}\b(?:tests?|pass\w*|green)\b"
    r"|\bpass(?:es|ed|ing)? all(?: the| \d+| of the)? tests?\b|\b(?:test )?suite is green\b",
    re.IGNORECASE,
)
_WROTE = re.compile(
    r"\b(?:creat(?:ed|es)|wr(?:ote|itten)|add(?:ed|s)|updat(?:ed|es)|modif(?:ied|ies)|chang(?:ed|es)|edit(?:ed|s)|"
    r"fix(?:ed|es)|implement(?:ed|s)|sav(?:ed|es)|generat(?:ed|es)|refactor(?:ed|s)|document(?:ed|s)|extend(?:ed|s))\b",
    re.IGNORECASE,
)
_PATH = re.compile(
    r"(?<![\w/.:-])((?:[\w.-]+/){0,12}[\w-][\w.-]{0,80}\."
    r"(?:py|md|txt|toml|json|ya?ml|cfg|ini|sh|js|ts|html|css|go|rs|sql|c|h|java))(?![\w/])"
)
_NO_FAILURE = re.compile(
    r"\b(?:0|no|zero|without(?: any)?) (?:test )?(?:fail\w*|errors?|regressions?)"
    r"|\b(?:fixed|resolved|repaired|solved)\b.{0,40}?\b(?:fail\w*|broken)|\bas expected\b",
    re.IGNORECASE,
)
"""«No failures», «fixed the failing test» and «as expected» deny nothing."""
_ONLY_READ = re.compile(
    r"\b(?:in|from|of|by|see|per|like|against|using|with|for|to|matches)\s+[`'\"*(]*$", re.IGNORECASE
)


def sentences(text: str) -> tuple[str, ...]:
    """The sentences of a message, one line each; code in fences is left out, and what is very long is cut."""
    prose = re.sub(r"```.*?(?:```|\Z)", "\n", text[:_MOST_CHARACTERS], flags=re.DOTALL)
    pieces = re.split(r"(?<=[.!?])\s+|\n+", prose)
    cleaned = (re.sub(r"^[\s>*#\-–•]+", "", piece).strip()[:_MOST_SENTENCE_CHARACTERS] for piece in pieces)
    return tuple(piece for piece in cleaned if re.search(r"\w", piece))


def claims_completion(text: str) -> bool:
    """Whether a message says that the work is done."""
    return any(_DONE.search(sentence) and not _denies(sentence) for sentence in sentences(text))


def claims_everything(text: str) -> bool:
    """Whether a message says that all of the work is done, without reservation anywhere."""
    said = sentences(text)
    all_done = any(_DONE.search(one) and _EVERYTHING.search(one) and not _denies(one) for one in said)
    return all_done and not admits_failure(text)


def admits_failure(text: str) -> bool:
    """Whether a message says that something could not be done, or is still open."""
    return any(_ADMITS.search(sentence) for sentence in sentences(text))


def passing_claim(text: str) -> str | None:
    """The first sentence that says that tests pass; `None` if there is none."""
    said = sentences(text)
    return next((one for one in said if _PASSING.search(one) and not _denies(one)), None)


def claimed_files(text: str) -> tuple[str, ...]:
    """Paths of files that a message says were written, in order, once each.

    A path counts if a word such as «created» stands before it in its sentence, and no word such as «in» directly
    before it: «fixed the fault seen in a.py» need not mean that a.py was written.
    """
    found: list[str] = []
    for sentence in sentences(text):
        verb = _WROTE.search(sentence)
        if verb is None or _denies(sentence):
            continue
        for path in _PATH.finditer(sentence, verb.end()):
            if not _ONLY_READ.search(sentence[verb.end() : path.start()]):
                found.append(path[1])
    return tuple(dict.fromkeys(found))


def _denies(sentence: str) -> bool:
    return _DENIES.search(_NO_FAILURE.sub("", sentence)) is not None
