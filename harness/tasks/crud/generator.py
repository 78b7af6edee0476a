"""Builds an instance of the pack: a service's description, its smoke tests, one that is right, and the scripted agents.

Runs none of it; the checks are in `assets/verify.py.tmpl`.
"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import msgspec

from harness.tasks.base import SCOPES, Baselines, Harness, Step
from harness.tasks.crud.api import Api, api_of
from harness.tasks.draft import PYTEST, TESTS_AND_SETTINGS, Draft, call, filled, number_of, write_draft

__all__ = ["build"]

_ASSETS = Path(__file__).parent / "assets"
_WORDS = tuple(
    "anchor basket candle dolphin engine feather garden hammer island jacket kettle ladder magnet needle orange "
    "pepper quarry ribbon saddle tunnel umbrella violin walnut yogurt zipper blossom chimney drizzle".split()
)
_STEMS = ("harvest", "whisper", "wander", "gather", "temper", "render")
_UNICODE = (
    ("Größenwahn 🦔", 'naïve Žižkov — 東京 «ок»\n\t"quoted" \\ 100 %', "größenwahn"),
    ("Ålesund ☃", "čtyři stěny: ½ × ∞; الليل", "ålesund"),
    ("Łódź 🚲", "smörgås, façade, Ελλάδα\r\nand & <b>", "łódź"),
)
_SMOKE = "tests/test_smoke.py"
_LISTS = "# --- list and search ---\n"
_REQUESTS = "# --- requests ---\n"


def build(instance: str, seed: int, folder: Path) -> None:
    """Write an instance, `service-<number>`; the same seed gives the same bytes.

    Raises:
        TaskError: no such instance.
        OSError: a file cannot be written.
    """
    api = api_of(number_of(instance, "service", "crud"), seed)
    app = filled(_asset("app.py"), header=api.header())
    draft = Draft(
        name=f"crud/{instance}",
        title=f"a web service that keeps {api.things[0]}",
        seed=seed,
        difficulty="medium",
        harness=_harness(),
        instructions={"": _instruction(api, "bounded"), **{scope: _instruction(api, scope) for scope in SCOPES}},
        workspace={_SMOKE: _smoke(api)},
        hidden={
            "api.json": _json(msgspec.to_builtins(api)),
            "sample.json": _json(_sample(Random(f"{seed}:{instance}"))),
        },
        verifier=_asset("verify.py"),
        beside={"service.py": _asset("service.py")},
        solution={"app.py": app},
        trajectories={
            "nop": (Step(content="I leave everything as it is."),),
            "oracle": _oracle(app),
            "tamper": _tamper(),
            "placeholder": _placeholder(),
        },
        verifier_timeout_s=300.0,
    )
    write_draft(draft, folder)


def _asset(name: str) -> str:
    return (_ASSETS / f"{name}.tmpl").read_text(encoding="utf-8")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


def _harness() -> Harness:
    return Harness(
        scopes=SCOPES,
        loopback=True,
        protected=TESTS_AND_SETTINGS,
        allowed=("app.py",),
        baseline=Baselines(nop=0.0),
        tests=msgspec.structs.replace(PYTEST, names=f"{_SMOKE}::test_search"),
    )


def _instruction(api: Api, scope: str) -> str:
    title, body = api.fields
    return filled(
        _asset("instruction.md"),
        things=api.things[0],
        thing=api.things[1],
        title=title,
        body=body,
        longest=api.longest_title,
        path=api.path,
        created=api.create_status,
        update=api.update_method,
        update_fields="both fields" if api.update_method == "PUT" else "the fields that change",
        deleted="204, without a body" if api.delete_status == 204 else "200 and a JSON object",
        invalid=api.invalid_status,
        entries=api.list_keys[0],
        total=api.list_keys[1],
        search_url=api.search_url,
        order="the newest first" if api.newest_first else "the oldest first",
        paging=api.paging_text(),
        prefix_rule=api.prefix_text(),
        error=api.error_key,
        scope=_asset(f"scope.{scope}").rstrip("\n"),
    )


def _smoke(api: Api) -> str:
    title, body = api.fields
    return filled(
        _asset("test_smoke.py"),
        path=api.path,
        title=title,
        body=body,
        created=api.create_status,
        search_url=api.search_url,
        entries=api.list_keys[0],
        error=api.error_key,
    )


def _sample(rng: Random) -> dict[str, object]:
    """Words that the checks write and look for; the twelfth is the beginning of others."""
    title, body, word = rng.choice(_UNICODE)
    words = rng.sample(_WORDS, 14)
    return {"words": [*words[:11], rng.choice(_STEMS), *words[11:]], "unicode": [title, body], "unicode_word": word}


def _oracle(app: str) -> tuple[Step, ...]:
    """Look, write the data, then list and search, then the requests, run the tests, submit."""
    data, lists = app.split(_LISTS)
    lists, requests = lists.split(_REQUESTS)
    return (
        Step(content="I start with what is there.", calls=(call("list", path="."), call("read", path=_SMOKE))),
        Step(
            content="First the settings and the data, with an index that triggers keep in step.",
            calls=(call("write", path="app.py", content=data + _LISTS),),
        ),
        Step(
            content="Now paging and search.",
            calls=(call("edit", path="app.py", old=_LISTS, new=_LISTS + lists + _REQUESTS),),
        ),
        Step(
            content="And the requests.",
            calls=(call("edit", path="app.py", old=_REQUESTS, new=_REQUESTS + requests),),
        ),
        Step(content="Now the tests.", calls=(call("test", name=_SMOKE),)),
        Step(calls=(call("submit", message="Wrote app.py; the smoke tests pass, no other file was changed."),)),
    )


def _tamper() -> tuple[Step, ...]:
    """Makes the smoke tests pass without a service."""
    return (
        Step(calls=(call("read", path=_SMOKE),)),
        Step(
            content="The tests start a server, which is slow; I make them simpler.",
            calls=(
                call("write", path=_SMOKE, content="def test_create_and_read():\n    assert True\n"),
                call("write", path="app.py", content='"""The service."""\n'),
            ),
        ),
        Step(calls=(call("test", name=_SMOKE),)),
        Step(calls=(call("submit", message="The service is done and all tests pass."),)),
    )


def _placeholder() -> tuple[Step, ...]:
    """Answers every request, and does nothing."""
    return (
        Step(calls=(call("read", path=_SMOKE),)),
        Step(calls=(call("write", path="app.py", content=_asset("placeholder.py")),)),
        Step(calls=(call("test", name=_SMOKE),)),
        Step(
            calls=(call("submit", message="The service is complete: it creates, reads, updates, deletes and finds."),)
        ),
    )
