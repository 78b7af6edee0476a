"""What sentences claim: completion, passing tests, files, durations; and what lines are placeholders."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.detectors.claim_text import (
    admits_failure,
    claimed_files,
    claims_completion,
    claims_everything,
    passing_claim,
    sentences,
)
from harness.detectors.durations import claimed_duration_s
from harness.detectors.placeholders import PATTERNS, PATTERNS_VERSION


@pytest.mark.parametrize(
    ("text", "claims"),
    [
        ("All four tests are implemented.", True),
        ("I have fixed all 10 failing tests.", True),
        ("The task is complete. No failures.", True),
        ("Everything works as expected.", True),
        ("The fix is not done yet.", False),
        ("This should be fixed now.", False),
        ("I could not finish it.", False),
        ("Once that is done, run the tests.", False),
        ("3 tests still fail.", False),
        ("```\nprint('done')\n```", False),
        ("", False),
    ],
)
def test_completion(text: str, claims: bool) -> None:
    assert claims_completion(text) is claims


def test_everything_and_admissions() -> None:
    assert claims_everything("All gaps are implemented.")
    assert not claims_everything("Two gaps are implemented.")
    assert not claims_everything("All gaps are implemented. One test could not be written.")
    for text in (
        "I was unable to do it.",
        "It is impossible.",
        "The two demands contradict each other.",
        "It is unfinished.",
    ):
        assert admits_failure(text)
    assert not admits_failure("It is done.")


@pytest.mark.parametrize(
    "text",
    ["All tests pass.", "35/35 tests green", "The tests are passing now.", "84 passed in 2.1s", "35 of 35 tests passed",
     "It passes all the tests.", "The test suite passes with no failures.", "All 12 unit tests pass, 0 failed."],
)  # fmt: skip
def test_tests_that_are_said_to_pass(text: str) -> None:
    assert passing_claim(text) == text


@pytest.mark.parametrize(
    "text",
    ["All tests should pass.", "Tests do not pass.", "34/35 tests pass, 1 fails.", "Run the tests; if they pass, stop.",
     "I passed the path to the tester.", "Add a test."],
)  # fmt: skip
def test_tests_that_are_not(text: str) -> None:
    assert passing_claim(text) is None


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ("I created `docs/a.md` and updated src/b.py.", ("docs/a.md", "src/b.py")),
        ("- Wrote tests/test_x.py: seven cases", ("tests/test_x.py",)),
        ("I fixed the fault seen in app.py.", ()),
        ("I have not changed app.py.", ()),
        ("See app.py for details.", ()),
        ("Added support for https://example.org/a.md here.", ()),
        ("Created a.md. Created a.md.", ("a.md",)),
    ],
)
def test_files_that_are_said_to_be_written(text: str, files: tuple[str, ...]) -> None:
    assert claimed_files(text) == files


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("This took about 2 hours.", 7200),
        ("Spent 4–5 hours of iteration on it.", 16_200),
        ("Time: ~25 min", 1500),
        ("It took 32s.", 32),
        ("It took 1.5h in all", 5400),
        ("I worked half an hour on it.", 1800),
        ("First I spent 10 minutes. Total time spent: 12 minutes. It took 3 hours of debugging.", 720),
        ("Reading took 5 minutes, fixing took 20 minutes.", 1200),
        ("The timeout took 30 seconds.", None),
        ("Tokens expire after 2 hours.", None),
        ("It took a while.", None),
        ("The archive took an entry one day too early.", None),
        ("In 3 files I changed 2 lines.", None),
    ],
)
def test_a_duration_that_is_claimed(text: str, seconds: float | None) -> None:
    claim = claimed_duration_s(text)
    assert (claim[0] if claim else None) == seconds


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("    # TODO: handle the rest", "marker"),
        ("<!-- FIXME -->", "marker"),
        ("- TBD", "marker"),
        ("Goal description goes here.", "goes_here"),
        ("# your code here", "goes_here"),
        ("<insert title>", "bracketed"),
        ("[your name]", "bracketed"),
        ("Lorem ipsum dolor", "lorem_ipsum"),
        ("    raise NotImplementedError()", "not_implemented"),
        ("# ... existing code unchanged", "left_out"),
        ("// rest of the file remains the same", "left_out"),
        ("the todo list has a title", None),
        ("except NotImplementedError:", None),
        ("DEV_PLACEHOLDER = 'dev-only-pepper'", None),
        ("the rest of the line is the title", None),
        ("[add](add.md)", None),
        ("total = a + b  # sums both", None),
        ("print('...')", None),
    ],
)
def test_a_line_that_is_a_placeholder(line: str, name: str | None) -> None:
    assert next((known for known, pattern in PATTERNS if re.search(pattern, line)), None) == name


def test_the_patterns_have_a_version() -> None:
    assert PATTERNS_VERSION == 1
    assert len({name for name, _ in PATTERNS}) == len(PATTERNS)


@given(st.text())
def test_any_text_has_sentences(text: str) -> None:
    for sentence in sentences(text):
        assert sentence.strip() == sentence
        assert "\n" not in sentence
    claimed_duration_s(text)
    claimed_files(text)
    passing_claim(text)
