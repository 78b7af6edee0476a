"""Machines as data: the shipped ones, names, faults, and what is written is read back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base import TargetError
from harness.machines import (
    BUNDLED,
    MachineMemory,
    MachineProfile,
    allowance,
    as_toml,
    find_machines,
    machine_named,
    read_machine,
)
from profiler.speed.rates import TypeRate

SHIPPED = sorted(BUNDLED.glob("*.toml"))
GIB = 1 << 30


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "config" / "dyno" / "machines"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_machine_says_where_each_figure_is_from(path: Path) -> None:
    profile = read_machine(path)
    assert profile.label == "published, not measured by dyno"
    assert profile.rates == (), "rates are measured, and none of these was measured by dyno"
    memory = profile.weights_memory
    assert memory is not None
    for told in filter(None, (profile.memory, profile.device)):
        assert "https://" in told.source or "http://" in told.source
        assert told.bandwidth_gb_per_s is not None
        said, figure = told.bandwidth_source or "", told.bandwidth_gb_per_s
        assert re.search(r"https?://", said)
        assert f"{figure:g}" in said or f"{figure / 1000:g} TB/s" in said, "the source tells this very figure"
        assert (told.usable_bytes is None) == (told.usable_source is None)
        assert told.usable_bytes is None or told.usable_bytes < told.bytes
    gib = re.search(r"-(\d+)g$", path.stem)
    assert gib is None or profile.memory is None or profile.memory.bytes == int(gib[1]) * GIB


def test_there_are_machines_of_each_kind() -> None:
    names = {path.stem for path in SHIPPED}
    assert {"m4-max-128g", "m3-ultra-512g", "rtx-3090", "rtx-5090", "dgx-spark", "strix-halo-128g"} <= names


def test_a_wrong_name_names_the_nearest_else_all(own: Path) -> None:
    with pytest.raises(TargetError, match="no machine is named 'm4-max'") as near:
        machine_named("m4-max")
    assert "m4-max-128g" in (near.value.hint or "")
    with pytest.raises(TargetError) as part:
        machine_named("spark")
    assert "did you mean dgx-spark?" in (part.value.hint or "")
    with pytest.raises(TargetError) as far:
        machine_named("zzzzzz")
    assert "known: dgx-spark, h100-sxm" in (far.value.hint or "")


def test_the_users_own_comes_by_name_or_path(own: Path) -> None:
    profile = MachineProfile("mine", "mine", "measured", memory=MachineMemory(8 * GIB, "told"), date="2026-11-20")
    (own / "mine.toml").write_text(as_toml(profile), encoding="utf-8")
    assert machine_named("mine") == machine_named(str(own / "mine.toml")) == profile
    assert profile.label == "measured by dyno on 2026-11-20"
    (own / "rtx-3090.toml").write_text(as_toml(profile), encoding="utf-8")
    with pytest.raises(TargetError, match="two machines are named rtx-3090"):
        machine_named("rtx-3090")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("description = 1", "str"),
        ('description = "x"\nprovenance = "guessed"\n', "guessed"),
        ('description = "x"\nprovenance = "published"\n', "has no memory"),
        ('description = "x"\nprovenance = "published"\n[memory]\nbytes = 1\nsource = "s"\nspeed = 3\n', "speed"),
        ('description = "x"\nprovenance = "measured"\n[memory]\nbytes = 1\nsource = "s"\n', "no date"),
        (
            'description = "x"\nprovenance = "published"\nunified = true\n[device]\nbytes = 1\nsource = "s"\n',
            "is unified",
        ),
        ("description = \nx = 1", "line 1"),
    ],
)
def test_a_wrong_file_is_told(own: Path, text: str, said: str) -> None:
    path = own / "wrong.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(TargetError, match=said):
        read_machine(path)
    assert next(one.fault for one in find_machines() if one.name == "wrong")


def test_what_a_machine_can_give() -> None:
    unified = allowance(machine_named("m4-max-128g"))
    assert unified.unified
    assert unified.device_bytes == unified.host_bytes == 115_448_720_916
    assert "published, not measured by dyno" in unified.source
    card = allowance(machine_named("rtx-3090"))
    assert (card.device_bytes, card.host_bytes, card.unified) == (24 * GIB, 24 * GIB, False)
    assert "main memory not told" in card.source
    board = allowance(machine_named("raspberry-pi-5-8g"))
    assert (board.host_bytes, board.device_bytes) == (8 * GIB, None)


def test_weights_lie_in_the_memory_of_the_gpu() -> None:
    host, device = MachineMemory(64 * GIB, "s"), MachineMemory(24 * GIB, "s")
    assert MachineProfile("m", "", "published", memory=host, device=device).weights_memory is device
    assert MachineProfile("m", "", "published", memory=host).weights_memory is host


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=30)
MEMORIES = st.builds(
    MachineMemory,
    bytes=st.integers(1, 2**50),
    source=WORDS,
    name=st.none() | WORDS,
    usable_bytes=st.none() | st.integers(1, 2**50),
    bandwidth_gb_per_s=st.none() | st.integers(1, 99_999).map(lambda tenths: tenths / 10),
)
RATES = st.builds(
    TypeRate,
    type=WORDS,
    weights_gb_per_s=st.integers(1, 9999).map(float),
    least_active_bytes=st.integers(1, 2**40),
    most_active_bytes=st.integers(1, 2**40),
    experts=st.booleans(),
    settings=st.none() | WORDS,
)


@given(WORDS, MEMORIES, st.none() | MEMORIES, st.lists(RATES, max_size=3).map(tuple))
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    words: str,
    memory: MachineMemory,
    device: MachineMemory | None,
    rates: tuple[TypeRate, ...],
) -> None:
    profile = MachineProfile("m", words, "measured", memory=memory, device=device, date="2026-11-20", rates=rates)
    path = tmp_path_factory.mktemp("machines") / "m.toml"
    path.write_text(as_toml(profile), encoding="utf-8")
    assert read_machine(path) == profile


def test_a_measured_figure_is_written_with_the_digits_that_it_has() -> None:
    rate = TypeRate("Q4_K", 31.354925925262116, 1, 2)
    memory = MachineMemory(25_276_502_016, "s")
    text = as_toml(MachineProfile("m", "", "measured", memory=memory, date="2026-11-20", rates=(rate,)))
    assert "weights_gb_per_s = 31.355\n" in text
    assert "bytes = 25276502016\n" in text
