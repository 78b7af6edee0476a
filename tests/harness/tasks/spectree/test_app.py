"""The assembled apps: real code, of some size, with what is planted in it and nothing of what it must not have."""

from __future__ import annotations

from random import Random

import pytest

from harness.tasks.spectree.app import KINDS, assemble, forbidden_terms
from harness.tasks.spectree.matching import fits, mentions, words

SEEDS = range(20)
"""Enough for every block to be drawn."""


@pytest.mark.parametrize("kind", KINDS)
def test_an_app_is_about_a_thousand_lines_of_python_that_compiles_and_of_typescript(kind: str) -> None:
    app = assemble(kind, Random(1))
    for path, text in app.files.items():
        assert "<<" not in text.replace("<<=", ""), path
        assert text.endswith("\n")
        if path.endswith(".py"):
            compile(text, path, "exec")
    assert 900 <= sum(text.count("\n") for text in app.files.values()) <= 1300
    assert {"core", "ui"} == {path.partition("/")[0] for path in app.files if "/" in path}


@pytest.mark.parametrize("kind", KINDS)
def test_ten_features_with_two_requirements_each_serve_four_goals(kind: str) -> None:
    app = assemble(kind, Random(1))
    assert len({feature.key for feature in app.features}) == 10
    assert {len(feature.requirement) for feature in app.features} == {2}
    assert [feature.goal for feature in app.features] == ["craft"] * 4 + ["safety"] * 2 + ["speed"] * 2 + [
        "portable"
    ] * 2
    assert [goal.key for goal in app.goals] == ["craft", "safety", "speed", "portable"]


@pytest.mark.parametrize("kind", KINDS)
def test_no_app_has_what_is_forbidden(kind: str) -> None:
    apps = [assemble(kind, Random(seed)) for seed in SEEDS]
    texts = {text for app in apps for text in app.files.values()}
    texts |= {f"{feature.title}.{feature.body}" for app in apps for feature in app.features}
    texts |= {f"{item.title}.{item.body}" for app in apps for feature in app.features for item in feature.requirement}
    assert {found for text in texts for found in mentions(text, forbidden_terms())} == set()


@pytest.mark.parametrize("kind", KINDS)
def test_a_feature_is_in_its_code_and_its_words_fit_its_keywords(kind: str) -> None:
    for seed in SEEDS:
        app = assemble(kind, Random(seed))
        for feature in app.features:
            assert app.files[feature.file].strip() == feature.code.strip()
            assert fits(words(f"{feature.title} {feature.body}"), feature.keywords)
            for requirement in feature.requirement:
                assert fits(words(f"{feature.title} {requirement.title} {requirement.body}"), requirement.keywords)


def test_the_seed_draws_the_features() -> None:
    drawn = {tuple(feature.key for feature in assemble("plants", Random(seed)).features) for seed in SEEDS}
    assert len(drawn) > 6
    assert len({key for keys in drawn for key in keys}) == 16, "every block is drawn by some seed"
    assert assemble("plants", Random(3)) == assemble("plants", Random(3))


def test_an_unknown_kind_is_an_error() -> None:
    with pytest.raises(KeyError):
        assemble("bank", Random(1))
