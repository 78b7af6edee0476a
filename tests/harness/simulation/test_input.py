"""Runs and sessions become the requests that an engine would see."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backends import open_engine
from backends.base import EngineError, Prompt, Request, Target
from harness.replay import Plan, replay
from harness.sessions import Session
from harness.simulation.input import workload_of_run, workload_of_sessions
from profiler.records import Failure, Machine, RequestRecord, RunInfo
from profiler.store import RunWriter, StoreError
from tests.harness.cache_cases import session, small_share, sub_agent, turn, words


def stored(folder: Path, *sessions: Session, options: dict[str, str] | None = None, **changes: Any) -> Path:
    """A run of the scripted engine; `changes` are made to every record."""
    engine = open_engine(Target("scripted", options=options or {}))
    info = RunInfo(
        run_id="r",
        command="cache",
        started_unix_ns=0,
        target="scripted:",
        facts=engine.facts(),
        machine=Machine("Linux", None, None, None, None),
        versions={},
        settings={},
    )
    writer = RunWriter.create(folder, info)
    for record, kept in replay(engine, Plan(sessions), on_anchor=writer.anchor):
        writer.request(msgspec.structs.replace(record, **changes), kept.body, kept.rendered)
    writer.close("complete")
    return writer.path


def test_a_run_gives_its_tokens_in_order_with_what_was_measured(tmp_path: Path) -> None:
    workload = workload_of_run(stored(tmp_path, sub_agent(), small_share()))
    assert workload.tokens == "run"
    assert workload.engine == "scripted"
    assert workload.own is None
    assert [ask.conversation for ask in workload.counted] == ["main", "sub", "main"] * 2
    assert [ask.request_id for ask in workload.counted] == [1, 2, 3, 4, 5, 6]
    assert all(ask.measured_tokens is not None for ask in workload.counted)
    main, sub, again = workload.counted[:3]
    assert main.sent.prompt == again.sent.prompt
    assert len(sub.sent.prompt) < len(main.sent.prompt) / 2
    assert [message.role for message in main.sent.messages] == ["system", "user"]
    assert workload.model is not None


def test_dynos_own_requests_take_part_and_do_not_count(tmp_path: Path) -> None:
    workload = workload_of_run(stored(tmp_path, sub_agent(), small_share()))
    assert [ask.counted for ask in workload.asks] == [False, True, True, True] * 2
    anchor, first = workload.asks[0].sent, workload.asks[1].sent
    user = first.messages[1].start
    # `<|im_start|>`, `user` in two tokens, a new line.
    assert anchor.prompt[:4] == first.prompt[user : user + 4]
    assert max(anchor.prompt[4:]) < -1


def test_what_failed_is_served_only_if_it_reached_the_engine(tmp_path: Path) -> None:
    rejected = Failure("RequestRejected", "no")
    path = stored(tmp_path / "a", sub_agent(), error=rejected)
    assert len(workload_of_run(path).counted) == 0
    records = msgspec.json.Decoder(RequestRecord)
    lines = (path / "requests.jsonl").read_bytes().splitlines()[1:]
    assert all(records.decode(line).stamps.first_sign_ns for line in lines)
    assert sum(not ask.counted for ask in workload_of_run(path).asks) == 4


def test_a_run_without_prompts_is_refused(tmp_path: Path) -> None:
    path = stored(tmp_path, sub_agent())
    (path / "prompts.zst").unlink()
    with pytest.raises(StoreError, match="holds no prompts") as caught:
        workload_of_run(path)
    assert "--model" in (caught.value.hint or "")


def test_requests_that_overlap_are_said(tmp_path: Path) -> None:
    path = stored(tmp_path, sub_agent())
    lines = (path / "requests.jsonl").read_bytes().splitlines()
    decoded: list[dict[str, Any]] = [msgspec.json.decode(line) for line in lines]
    for record in decoded[2:]:
        record["stamps"]["sent_ns"] = decoded[1]["stamps"]["sent_ns"] + 1
    (path / "requests.jsonl").write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in decoded))
    assert any("2 requests were sent while another was in progress" in note for note in workload_of_run(path).notes)


def test_a_session_is_rendered_with_its_recorded_replies() -> None:
    pinned = turn("main", "be brief", words(1, 50), parameters={"id_slot": 2, "cache_prompt": False, "seed": 1})
    free = turn("main", "be brief", words(1, 50), words(2, 20), parameters={"id_slot": -1})
    seen: list[str] = []
    made = workload_of_sessions(
        [session("s", pinned, free)], open_engine(Target("scripted")), "scripted", on_turn=seen.append
    )
    first, second = made.asks
    assert seen == ["s", "s"]
    assert (first.sent.slot, first.sent.cache_prompt) == (2, False)
    assert (second.sent.slot, second.sent.cache_prompt) == (None, True)
    assert first.sent.conversation == second.sent.conversation == "s/main/0"
    assert first.sent.prompt + first.sent.generated[:-1] != second.sent.prompt
    assert len(first.sent.generated) == 3  # « done» is two tokens, and the end
    assert made.facts == {"sequential": True}


def test_images_are_said_to_be_left_out() -> None:
    one = turn("main", "look", "at this")
    picture = {"role": "user", "content": [{"type": "text", "text": "this"}, {"type": "image_url", "text": ""}]}
    shown = msgspec.structs.replace(one, messages=(*one.messages, picture))
    made = workload_of_sessions([session("s", shown)], open_engine(Target("scripted")), "scripted")
    assert made.notes == ("1 messages hold images, whose tokens are not modelled",)


class Silent:
    """An engine that shows no prompts, or whose replies cannot be forced."""

    def __init__(self, prompts: bool) -> None:
        self._inner = open_engine(Target("scripted"))
        self._prompts = prompts

    def render(self, request: Request) -> Prompt | None:
        return self._inner.render(request) if self._prompts else None

    def __getattr__(self, name: str) -> Any:
        if name == "forced":
            raise AttributeError(name)
        return getattr(self._inner, name)


def test_an_engine_without_prompts_cannot_be_used() -> None:
    engine: Any = Silent(prompts=False)
    with pytest.raises(EngineError, match="shows no prompts") as caught:
        workload_of_sessions([sub_agent()], engine, "engine")
    assert "--model" in (caught.value.hint or "")


def test_replies_that_cannot_be_forced_have_their_length_alone() -> None:
    engine: Any = Silent(prompts=True)
    made = workload_of_sessions([sub_agent()], engine, "engine")
    generated = array("i")
    for ask in made.asks:
        assert 1 <= len(ask.sent.generated) <= 8
        generated += ask.sent.generated
    assert max(generated) < 0
    assert len(set(generated)) == len(generated)
