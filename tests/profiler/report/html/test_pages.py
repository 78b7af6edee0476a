"""The pages as text: what a model wrote stays text, nothing is loaded, and nothing but our two scripts may run."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from profiler.report.html.experiment_page import experiment_page
from profiler.report.html.rendering import json_for_a_page, verdict_of
from profiler.report.html.run_page import run_page
from tests.profiler.report.html.made_experiment import made_experiment
from tests.profiler.report.html.made_run import HOSTILE, made_page

for package in ("altair", "jinja2", "vl_convert"):
    pytest.importorskip(package)


class Seen(HTMLParser):
    """The elements of a page, the scripts among them with their text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[str | None, str]] = []
        self._script: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs).get("type"), ""))

    def handle_data(self, data: str) -> None:
        if self.elements and self.cdata_elem == "script":
            kind, text = self.scripts.pop()
            self.scripts.append((kind, text + data))


@pytest.fixture(scope="module", params=["run", "experiment"])
def page(request: pytest.FixtureRequest) -> str:
    if request.param == "run":
        return run_page(made_page(text=HOSTILE, dispatches=True))
    return experiment_page(made_experiment(HOSTILE), (), "runs/made")


def test_hostile_text_makes_no_element(page: str) -> None:
    seen = Seen(page)
    assert [kind for kind, _ in seen.scripts] == ["application/json", None, None]
    assert not [tag for tag, _ in seen.elements if tag in ("img", "iframe", "object", "embed", "form", "base")]
    assert not [name for _, attributes in seen.elements for name in attributes if name.startswith("on")]
    assert "&lt;/script&gt;&lt;script&gt;window.broken = 1" in page


def test_nothing_is_loaded(page: str) -> None:
    loads = [(tag, attributes) for tag, attributes in Seen(page).elements if {"src", "href"} & attributes.keys()]
    assert loads == [("a", {"class": "skip", "href": "#content"})]
    assert not re.search(r"url\(|@import", page.split("</style>")[0])


def test_the_policy_lets_run_the_two_scripts_alone(page: str) -> None:
    seen = Seen(page)
    (policy,) = [a["content"] for tag, a in seen.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    hashes = {
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for kind, text in seen.scripts if not kind
    }
    assert set(rules["script-src"].split()) == {f"'sha256-{one}'" for one in hashes}
    assert not {"connect-src", "img-src", "font-src", "frame-src"} & rules.keys()


def test_what_the_charts_draw_is_whole_json(page: str) -> None:
    data = json.loads(Seen(page).scripts[0][1])
    assert data["charts"]
    assert all(chart["choices"] for chart in data["charts"])
    assert data["colours"]["light"].keys() == data["colours"]["dark"].keys()


@given(st.text(alphabet=st.one_of(st.characters(), st.sampled_from("</script!-\u2028\u2029&"))))
def test_json_can_not_end_its_element(text: str) -> None:
    encoded = json_for_a_page({text: [text]})
    assert not set("<>&\u2028\u2029") & set(encoded)
    encoded.encode()
    assert json.loads(encoded) == {text: [text]}


def test_a_verdict_is_taken_from_the_line_of_the_terminal() -> None:
    verdict = verdict_of(Text.assemble(("NOT STABLE", "bold red"), "  because\nof this"))
    assert (verdict.word, verdict.tone, str(verdict)) == ("NOT STABLE", "bad", "because of this")


def test_what_was_left_out_is_said() -> None:
    text = run_page(made_page(1_000, turns=25))
    assert "1,000 requests in 334 bars of 3" in text
    assert "losing requests, 80 are left out" in text
    assert "28 more sessions, which lost less, are left out" in text


def test_the_verdict_comes_first() -> None:
    text = run_page(made_page())
    order = [
        text.index(f">{words}<") for words in ("UNSTABLE", "Timeline", "Cache map", "Seconds by cause", "Residency")
    ]
    assert order == sorted(order)
