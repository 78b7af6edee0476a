"""The store: what was written comes back, a cut costs one record, a killed run keeps what it had finished."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.base import Evidence, Facts
from profiler.records import (
    SCHEMA,
    AnchorSample,
    CacheVerdict,
    Failure,
    GuardSample,
    Machine,
    Reply,
    RequestRecord,
    RunClosed,
    RunInfo,
    Stamps,
)
from profiler.residency.records import ResidencySample
from profiler.run_files import Appender, BlobWriter
from profiler.run_names import find_run, list_runs, new_run_id
from profiler.store import RunWriter, StoreError, read_bodies, read_load_log, read_run

CURRENT, NEWER = (f'"schema":{number},'.encode() for number in (SCHEMA, SCHEMA + 1))
REPOSITORY = Path(__file__).parents[2]
GUARD = GuardSample(
    at_ns=5, interval_ns=5, foreign_cpu=0.25, steal=None, swap_in_bytes=0, major_faults=None, lateness_ns=1
)
MEMORY = ResidencySample(at_ns=6, lateness_ns=1, processes=1, source="status", must_have_bytes=9)
ANCHOR = AnchorSample(at_ns=7, prefill_tokens_per_s=300.5, decode_tokens_per_s=None)


def run_info(run_id: str = "20261120-124501-k3f9") -> RunInfo:
    machine = Machine(system="test", cpu=None, cores_logical=2, cores_physical=None, memory_bytes=1 << 30)
    return RunInfo(
        run_id=run_id,
        command="dyno cache",
        started_unix_ns=1,
        target="scripted:",
        facts=Facts(engine="scripted"),
        machine=machine,
        versions={"python": "3.11"},
        settings={"repeat": 2, "nested": {"a": [1, None]}},
    )


def request_record(request_id: int, text: str = "hello") -> RequestRecord:
    return RequestRecord(
        request_id=request_id,
        session="s",
        conversation="c",
        turn=request_id,
        repeat=0,
        fidelity="rehearse",
        forcing="none",
        sent_unix_ns=9,
        stamps=Stamps(sent_ns=1, deltas_ns=(2, 3)),
        evidence=Evidence(prompt_tokens=10),
        reply=Reply(text={"content": text}),
        verdict=CacheVerdict(
            "unknown", 10, None, None, None, None, False, None, None, None, None, confidence="unknown"
        ),
    )


def written(root: Path, run_id: str = "20261120-124501-k3f9", records: int = 3) -> RunWriter:
    writer = RunWriter.create(root, run_info(run_id), clock=lambda: 77)
    for i in range(records):
        writer.request(request_record(i), b"body %d" % i * (i + 1))
        writer.guard(GUARD)
        writer.anchor(ANCHOR)
        writer.residency(MEMORY)
    return writer


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Any value of a record's field type."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([values(a) for a in arguments])
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is tuple:
        return st.lists(values(arguments[0]), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(values(arguments[0]), values(arguments[1]), max_size=3)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        fields = msgspec.structs.fields(hint)
        return st.fixed_dictionaries({f.name: values(f.type) for f in fields}).map(lambda kw: hint(**kw))
    plain: dict[Any, st.SearchStrategy[Any]] = {
        int: st.integers(-(2**63), 2**63 - 1),
        float: st.floats(allow_nan=False, allow_infinity=False),
        str: st.text(max_size=20),
        bool: st.booleans(),
        type(None): st.none(),
        Any: st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5), st.lists),
    }
    return plain[hint]


def of_this_schema(record: Any) -> st.SearchStrategy[Any]:
    if "schema" not in record.__struct_fields__:
        return values(record)
    return values(record).map(lambda r: msgspec.structs.replace(r, schema=SCHEMA))


@settings(max_examples=40, deadline=None)
@given(
    info=of_this_schema(RunInfo),
    requests=st.lists(st.tuples(values(RequestRecord), st.none() | st.binary(max_size=50)), max_size=4),
    guards=st.lists(values(GuardSample), max_size=4),
    anchors=st.lists(values(AnchorSample), max_size=4),
    residency=st.lists(values(ResidencySample), max_size=4),
    end=st.none() | of_this_schema(RunClosed),
)
def test_every_record_comes_back_as_it_was(
    info: RunInfo,
    requests: list[tuple[RequestRecord, bytes | None]],
    guards: list[GuardSample],
    anchors: list[AnchorSample],
    residency: list[ResidencySample],
    end: RunClosed | None,
) -> None:
    requests = [(msgspec.structs.replace(r, request_id=n), b) for n, (r, b) in enumerate(requests)]
    info = msgspec.structs.replace(info, run_id="r1")
    with tempfile.TemporaryDirectory() as root:
        writer = RunWriter.create(Path(root), info, clock=lambda: end.ended_unix_ns if end else 0)
        for record, body in requests:
            writer.request(record, body)
        for guard in guards:
            writer.guard(guard)
        for anchor in anchors:
            writer.anchor(anchor)
        for sample in residency:
            writer.residency(sample)
        if end is not None:
            writer.close(end.status, end.error)
        run = read_run(writer.path)
        bodies = list(read_bodies(writer.path))
        writer.close("complete")
    assert run.info == info
    assert run.requests == tuple(record for record, _ in requests)
    assert run.guards == tuple(guards)
    assert run.anchors == tuple(anchors)
    assert run.residency == tuple(residency)
    assert run.closed == end
    assert run.notes == ()
    assert bodies == [(record.request_id, body) for record, body in requests if body is not None]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    writer = written(tmp_path_factory.mktemp("runs"))
    writer.close("failed", Failure("EngineDied", "gone"))
    return writer.path


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_cut_at_any_byte_costs_only_the_record_it_cuts(whole: Path, data: st.DataObject) -> None:
    names = ["requests.jsonl", "guards.jsonl", "anchors.jsonl", "residency.jsonl", "bodies.zst", "closed.json"]
    name = data.draw(st.sampled_from(names))
    content = (whole / name).read_bytes()
    kept = data.draw(st.integers(0, len(content) - 1))
    complete = read_run(whole)
    with tempfile.TemporaryDirectory() as root:
        cut = Path(root) / "cut"
        shutil.copytree(whole, cut)
        os.truncate(cut / name, kept)
        run = read_run(cut)
        bodies = list(read_bodies(cut))
    for field in ("requests", "guards", "anchors", "residency"):
        before, after = getattr(complete, field), getattr(run, field)
        if name == f"{field}.jsonl":
            finished = max(0, content[:kept].count(b"\n") - 1)
            assert finished <= len(after) <= finished + 1
        assert after == before[: len(after)]
        assert name == f"{field}.jsonl" or len(after) == len(before)
    assert bodies == list(read_bodies(whole))[: len(bodies)]
    assert name == "bodies.zst" or len(bodies) == 3
    assert run.closed == (None if name == "closed.json" and kept < len(content) - 1 else complete.closed)


def test_a_record_that_lost_only_its_newline_is_kept(whole: Path, tmp_path: Path) -> None:
    run_path = tmp_path / "run"
    shutil.copytree(whole, run_path)
    file = run_path / "requests.jsonl"
    os.truncate(file, file.stat().st_size - 1)
    assert read_run(run_path) == read_run(whole)
    os.truncate(file, file.stat().st_size - 1)
    run = read_run(run_path)
    assert len(run.requests) == 2
    assert run.notes[0].startswith("requests.jsonl line 4 is torn, its record is lost")


def test_a_cut_stream_of_bodies_keeps_the_bodies_flushed_before(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path, run_info())
    file = writer.path / "bodies.zst"
    rng = random.Random(3)
    sent = [rng.randbytes(2000) for _ in range(3)]
    sizes: list[int] = []
    for i, body in enumerate(sent):
        writer.request(request_record(i), body)
        sizes.append(file.stat().st_size)
    for number, size in enumerate(sizes):
        os.truncate(file, sizes[-1])
        shutil.copy(file, tmp_path / "copy")
        cut = tmp_path / f"cut{number}"
        shutil.copytree(writer.path, cut)
        os.truncate(cut / "bodies.zst", size)
        assert list(read_bodies(cut)) == list(enumerate(sent))[: number + 1]
        os.truncate(cut / "bodies.zst", size - 1)
        assert list(read_bodies(cut)) == list(enumerate(sent))[:number]


@settings(max_examples=60, deadline=None)
@given(position=st.integers(0, 10**6), byte=st.integers(0, 255))
def test_damaged_bodies_are_a_clear_error_or_missing_but_never_wrong(whole: Path, position: int, byte: int) -> None:
    content = bytearray((whole / "bodies.zst").read_bytes())
    content[position % len(content)] = byte
    with tempfile.TemporaryDirectory() as root:
        (Path(root) / "bodies.zst").write_bytes(content)
        bodies: list[tuple[int, bytes]] = []
        with contextlib.suppress(StoreError):
            bodies.extend(read_bodies(Path(root)))
    assert bodies == list(read_bodies(whole))[: len(bodies)]


def test_a_bad_line_in_the_middle_costs_that_record_and_a_note(whole: Path, tmp_path: Path) -> None:
    run_path = tmp_path / "run"
    shutil.copytree(whole, run_path)
    file = run_path / "requests.jsonl"
    lines = file.read_bytes().split(b"\n")
    for bad in (b"{", b"\xff\xfe", b'{"request_id": "text"}', b""):
        file.write_bytes(b"\n".join([*lines[:2], bad, *lines[3:]]))
        run = read_run(run_path)
        assert [r.request_id for r in run.requests] == [0, 2]
        (note,) = run.notes
        assert note.startswith("requests.jsonl line 3 cannot be read")


def test_missing_files_and_unreadable_headers_are_noted(whole: Path, tmp_path: Path) -> None:
    run_path = tmp_path / "run"
    shutil.copytree(whole, run_path)
    (run_path / "guards.jsonl").unlink()
    (run_path / "closed.json").unlink()
    anchors = run_path / "anchors.jsonl"
    anchors.write_bytes(anchors.read_bytes().replace(b'{"schema"', b'["schema"', 1))
    run = read_run(run_path)
    assert run.guards == ()
    assert run.closed is None
    assert len(run.anchors) == 3
    assert [note.split(":")[0] for note in run.notes] == [
        "guards.jsonl is missing",
        "anchors.jsonl line 1 is no header",
    ]


def test_a_run_from_before_memory_was_sampled_lacks_nothing(whole: Path, tmp_path: Path) -> None:
    run_path = tmp_path / "run"
    shutil.copytree(whole, run_path)
    (run_path / "residency.jsonl").unlink()
    run = read_run(run_path)
    assert run.residency == ()
    assert run.notes == ()


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("run.json", b'"command"', NEWER + b'"command"'),
        ("requests.jsonl", b"{" + CURRENT, b"{" + NEWER),
        ("closed.json", b'"status"', NEWER + b'"status"'),
        ("bodies.zst", b"{" + CURRENT, b"{" + NEWER),
    ],
)
def test_a_newer_schema_is_named_as_such(whole: Path, tmp_path: Path, name: str, old: bytes, new: bytes) -> None:
    run_path = tmp_path / "run"
    shutil.copytree(whole, run_path)
    file = run_path / name
    content = file.read_bytes()
    # The later of two equal keys wins, so the record's own schema gives way.
    content = content.replace(b"," + CURRENT[:-1] + b"}", b"}").replace(old, new, 1)
    assert content != file.read_bytes()
    file.write_bytes(content)
    with pytest.raises(StoreError, match=f"schema {SCHEMA + 1}, this dyno reads up to {SCHEMA}") as caught:
        read_run(run_path) if name != "bodies.zst" else list(read_bodies(run_path))
    assert caught.value.hint == "update dyno to read this run"


def test_renamed_file_is_refused(whole: Path, tmp_path: Path) -> None:
    run_path = tmp_path / "run"
    shutil.copytree(whole, run_path)
    (run_path / "anchors.jsonl").replace(run_path / "guards.jsonl")
    with pytest.raises(StoreError, match="holds AnchorSample, not GuardSample"):
        read_run(run_path)


KILLED = """
import sys
from pathlib import Path
from tests.profiler.test_store import request_record, run_info, GUARD
from profiler.store import RunWriter
writer = RunWriter.create(Path(sys.argv[1]), run_info())
body = b""
for i in range(10**9):
    body += b"turn %d of a growing history" % i
    writer.request(request_record(i, "x" * 5000), body)
    writer.guard(GUARD)
    print(i, flush=True)
"""


def test_a_killed_run_keeps_every_finished_record(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    with child.stdout as lines:
        finished = [int(next(lines)) for _ in range(60)]
        os.kill(child.pid, signal.SIGKILL)
        finished += [int(line) for line in lines]
    assert child.wait() == -signal.SIGKILL
    run = read_run(find_run(tmp_path, "latest"))
    assert [r.request_id for r in run.requests[: len(finished)]] == finished
    assert len(run.requests) <= len(finished) + 1
    assert len(run.guards) >= len(finished)
    assert run.closed is None
    bodies = list(read_bodies(tmp_path / run.info.run_id))
    assert [i for i, _ in bodies[: len(finished)]] == finished
    assert bodies[1][1] == b"turn 0 of a growing historyturn 1 of a growing history"


def test_growing_histories_cost_little(tmp_path: Path) -> None:
    rng = random.Random(1)
    words = ["".join(rng.choices("abcdefghijklmnop", k=rng.randint(2, 9))) for _ in range(5000)]
    writer = RunWriter.create(tmp_path, run_info())
    body, total_bytes, digest = b"", 0, 0
    for i in range(200):
        body += " ".join(rng.choices(words, k=400)).encode()
        total_bytes += len(body)
        digest ^= hash(body)
        writer.request(request_record(i), body)
    writer.close("complete")
    assert 480_000 < len(body) < 560_000
    # Measured: 0.48 %, which is half the size of the last body alone; without the long window it is 50 %.
    assert (writer.path / "bodies.zst").stat().st_size < 0.0075 * total_bytes
    for _, stored in read_bodies(writer.path):
        digest ^= hash(stored)
    assert digest == 0


def test_two_threads_may_write_at_once(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path, run_info())

    def send(first: int) -> None:
        for i in range(50):
            writer.request(request_record(first + i), b"x" * i)

    def watch() -> None:
        for _ in range(200):
            writer.guard(GUARD)

    threads = [threading.Thread(target=send, args=(first,)) for first in (0, 100, 200)]
    threads.append(threading.Thread(target=watch))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close("complete")
    run = read_run(writer.path)
    assert run.notes == ()
    ids = sorted(r.request_id for r in run.requests)
    assert ids == [first + i for first in (0, 100, 200) for i in range(50)]
    assert len(run.guards) == 200
    assert [i for i, _ in read_bodies(writer.path)] == [r.request_id for r in run.requests]


def test_half_a_surrogate_pair_does_not_lose_the_record(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path, run_info())
    writer.request(request_record(0, "a\ud800b"))
    assert read_run(writer.path).requests[0].reply.text == {"content": "a?b"}


def test_close_ends_the_run_once(tmp_path: Path) -> None:
    writer = written(tmp_path)
    writer.close("interrupted")
    writer.close("complete")
    assert read_run(writer.path).closed == RunClosed(ended_unix_ns=77, status="interrupted")
    with pytest.raises(StoreError, match="is closed"):
        writer.guard(GUARD)


def test_a_run_of_the_first_schema_is_still_read(whole: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(whole, old)
    for file in (*old.glob("*.jsonl"), *old.glob("*.json")):
        text = file.read_text().replace(f'"schema":{SCHEMA}', '"schema":1')
        file.write_text(text)
    assert read_run(old).notes == ()


def test_every_file_states_its_schema(whole: Path) -> None:
    holds = {
        "requests": "RequestRecord",
        "guards": "GuardSample",
        "anchors": "AnchorSample",
        "residency": "ResidencySample",
    }
    for name, record in holds.items():
        first = (whole / f"{name}.jsonl").read_bytes().split(b"\n")[0]
        assert msgspec.json.decode(first) == {"schema": SCHEMA, "holds": record}
    for name in ("run.json", "closed.json"):
        assert msgspec.json.decode((whole / name).read_bytes())["schema"] == SCHEMA
    assert sorted(p.name for p in whole.iterdir()) == [
        "anchors.jsonl",
        "bodies.zst",
        "closed.json",
        "guards.jsonl",
        "prompts.zst",
        "requests.jsonl",
        "residency.jsonl",
        "run.json",
    ]


SMALL_BYTES = 8_000_000


@pytest.fixture
def small_files() -> Iterator[None]:
    """A file size limit stands in for a full disk: `write` takes a part, then fails.

    It holds for the whole process, also for the file that this test run may be written to: hence so large.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL_BYTES, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, ignored)


@pytest.mark.usefixtures("small_files")
def test_a_full_disk_is_one_clear_error_and_leaves_whole_lines(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path, run_info())
    writer.request(request_record(0))
    with pytest.raises(StoreError, match=r"requests\.jsonl: File too large") as caught:
        writer.request(request_record(1, "x" * 2 * SMALL_BYTES))
    assert caught.value.hint is not None
    writer.request(request_record(2))
    run = read_run(writer.path)
    assert [r.request_id for r in run.requests] == [0, 2]
    assert run.notes == ()


@pytest.mark.usefixtures("small_files")
def test_bodies_end_at_a_failed_write(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path, run_info())
    writer.request(request_record(0), b"small")
    with pytest.raises(StoreError):
        writer.request(request_record(1), random.Random(1).randbytes(2 * SMALL_BYTES))
    with pytest.raises(StoreError, match="earlier failed write"):
        writer.request(request_record(2), b"small")
    writer.close("failed")
    assert list(read_bodies(writer.path)) == [(0, b"small")]
    assert len(read_run(writer.path).requests) == 3


def test_unusable_places_are_clear_errors(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("not a folder")
    with pytest.raises(StoreError, match="Not a directory") as caught:
        RunWriter.create(file, run_info())
    assert caught.value.hint is not None
    written(tmp_path)
    with pytest.raises(StoreError, match="File exists"):
        RunWriter.create(tmp_path, run_info())
    with pytest.raises(StoreError, match="no run id"):
        RunWriter.create(tmp_path, run_info("../elsewhere"))
    with pytest.raises(StoreError, match="holds no run"):
        read_run(tmp_path)
    with pytest.raises(StoreError, match="No such file"):
        next(read_bodies(tmp_path))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_a_clear_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="Permission denied") as caught:
        RunWriter.create(tmp_path, run_info())
    tmp_path.chmod(0o700)
    assert caught.value.hint == "store runs in a folder that you may write to"


def test_an_unreadable_run_json_is_a_clear_error(whole: Path, tmp_path: Path) -> None:
    run_path = tmp_path / "run"
    shutil.copytree(whole, run_path)
    for content in (b"", b"{", b"\xff", b'{"run_id":1}'):
        (run_path / "run.json").write_bytes(content)
        with pytest.raises(StoreError, match=r"cannot read .*run\.json"):
            read_run(run_path)


def test_run_ids_sort_by_time_and_differ() -> None:
    at_ns = 1_795_178_701_500_000_000
    ids = {new_run_id(at_ns) for _ in range(50)}
    assert len(ids) > 40
    assert all(i.startswith("20261120-124501-") and len(i) == 20 for i in ids)
    assert new_run_id(at_ns) < new_run_id(at_ns + 1_000_000_000)


def test_find_run(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no runs in"):
        find_run(tmp_path / "absent", "latest")
    names = ["20261119-000000-zzzz", "20261120-124501-k3f9", "20261120-124501-aaaa", "20261120-124502-bbbb"]
    for at, name in enumerate(names):
        written(tmp_path, name, records=0)
        os.utime(tmp_path / name / "run.json", ns=(at, at))
    (tmp_path / "half-made").mkdir()
    assert [p.name for p in list_runs(tmp_path)] == names
    assert find_run(tmp_path, "latest") == tmp_path / names[3]
    assert find_run(tmp_path, names[1]) == tmp_path / names[1]
    assert find_run(tmp_path, "20261119") == tmp_path / names[0]
    assert find_run(tmp_path / "absent", str(tmp_path / names[0])) == tmp_path / names[0]
    with pytest.raises(StoreError, match="3 runs begin with") as several:
        find_run(tmp_path, "20261120")
    assert several.value.hint is not None
    assert names[3] in several.value.hint
    with pytest.raises(StoreError, match="no run") as near:
        find_run(tmp_path, "20261120-124501-k3f8")
    assert near.value.hint is not None
    assert names[1] in near.value.hint
    with pytest.raises(StoreError) as far:
        find_run(tmp_path, "%%%")
    assert far.value.hint == f"most recent: {names[3]}, {names[2]}, {names[1]}"
    assert list_runs(tmp_path / "absent") == ()


def test_files_are_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        Appender(tmp_path / "a", b"")
    with pytest.raises(FileExistsError):
        BlobWriter(tmp_path / "a", "bodies")
    assert (tmp_path / "a").read_bytes() == b"mine"


def test_what_the_engine_logged_while_it_loaded_comes_back(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path, run_info())
    assert read_load_log(writer.path) == ""
    writer.load_log("")
    assert not (writer.path / "load.log").exists()
    writer.load_log("loaded multimodal model\n\ud800 half a pair")
    assert read_load_log(writer.path) == "loaded multimodal model\n? half a pair\n"
    writer.close("complete")
    with pytest.raises(StoreError):
        writer.load_log("more")
