"""Which places a command may see, and how they become rules, mounts, arguments and a profile."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from harness.sandbox.base import Policy
from harness.sandbox.bwrap import Bubblewrap
from harness.sandbox.landlock import Landlock, mounts_of
from harness.sandbox.places import Place, environment, hidden_inside, pieces_around, places
from harness.sandbox.seatbelt import Seatbelt, profile
from harness.sandbox.toolchain import hidden_folders, toolchain

ROOT = Path(__file__).parents[3].resolve()
linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")


def test_the_checkout_is_hidden_and_never_granted(workspace: Path) -> None:
    assert hidden_folders() == (ROOT,)
    assert not any(Path(place.path) == ROOT or Path(place.path) in ROOT.parents for place in places(Policy(workspace)))
    assert hidden_inside(str(ROOT.parent)) == (str(ROOT),)
    assert hidden_inside(str(ROOT)) == ()


def test_the_workspace_comes_last_and_what_lies_in_it_is_left_out(workspace: Path, tmp_path: Path) -> None:
    inner = workspace / "inner"
    inner.mkdir()
    (tmp_path / "link").symlink_to(tmp_path)
    granted = places(Policy(workspace, readable=(inner, tmp_path / "link", tmp_path / "missing"), writable=(inner,)))
    assert granted[-1] == Place(str(workspace.resolve()), "write")
    assert Place(str(tmp_path.resolve()), "read") in granted
    assert not any("inner" in place.path or "missing" in place.path for place in granted)


def test_only_parts_of_the_settings_are_granted(workspace: Path) -> None:
    granted = {place.path for place in places(Policy(workspace))}
    assert not {"/", "/etc", "/etc/shadow", "/etc/ssh", "/home", "/tmp", "/dev", "/proc", "/run", "/var"} & granted


def test_the_pieces_around_what_is_hidden(tmp_path: Path) -> None:
    for name in ("a/b/hidden", "a/b/seen", "a/c", "d"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "a" / "b" / "link").symlink_to("hidden")
    pieces = list(pieces_around(str(tmp_path), (str(tmp_path / "a/b/hidden"),)))
    names = [(os.path.relpath(path, tmp_path), whole) for path, whole in pieces]
    assert names == [(".", False), ("a", False), ("a/b", False), ("a/b/seen", True), ("a/c", True), ("d", True)]
    assert list(pieces_around(str(tmp_path), ())) == [(str(tmp_path), True)]


def test_the_environment(workspace: Path) -> None:
    env = environment(Policy(workspace, env={"TZ": "Asia/Tokyo", "X": "1"}))
    assert env["PATH"].split(":")[0] == str(toolchain().bin)
    assert (env["HOME"], env["TMPDIR"]) == (f"{workspace.resolve()}/.home", f"{workspace.resolve()}/.tmp")
    assert (env["TZ"], env["X"]) == ("Asia/Tokyo", "1")


@linux
def test_mounts_hide_a_folder_and_show_what_is_granted_in_it(workspace: Path) -> None:
    granted = (
        Place("/usr", "read"),
        Place("/usr/lib/python", "read"),
        Place(str(ROOT.parent), "read"),
        Place(str(ROOT / "harness"), "read"),
        Place("/lib", "link", "usr/lib"),
        Place(str(workspace.resolve()), "write"),
    )
    mounts = [(kind, place) for kind, _, place, _ in mounts_of(granted, Policy(workspace))]
    assert ("read", "/usr") in mounts
    assert ("read", "/usr/lib/python") not in mounts
    assert ("link", "/lib") in mounts
    order = [
        mounts.index(one) for one in (("read", str(ROOT.parent)), ("mask", str(ROOT)), ("read", f"{ROOT}/harness"))
    ]
    assert order == sorted(order)
    assert mounts.index(("write", str(workspace.resolve()))) > mounts.index(("write", "/tmp"))


@linux
def test_rules_without_a_namespace_leave_out_what_is_hidden(workspace: Path) -> None:
    plan = Landlock(namespaces=False).plan(("true",), Policy(workspace, readable=(ROOT.parent,)))
    read = [path for path, rights in plan.rules if rights & 1 << 2]
    assert not any(Path(path) == ROOT or Path(path) in ROOT.parents for path in read)
    assert plan.filter != Landlock().plan(("true",), Policy(workspace)).filter, "sockets are denied without a namespace"
    assert plan.handled_network


@linux
def test_bubblewraps_arguments(workspace: Path) -> None:
    argv = Bubblewrap("/opt/bwrap").plan(("echo", "--bind"), Policy(workspace)).argv
    assert argv[0] == "/opt/bwrap"
    assert argv[-3:] == ("--", "echo", "--bind")
    options = " ".join(argv)
    for wanted in (
        "--unshare-net",
        "--die-with-parent",
        "--new-session",
        "--cap-drop ALL",
        "--clearenv",
        "--proc /proc",
        "--remount-ro /proc",
        "--ro-bind /usr /usr",
        f"--bind {workspace.resolve()} {workspace.resolve()}",
        f"--chdir {workspace.resolve()}",
        "--perms 1777 --size 67108864 --tmpfs /dev/shm",
    ):
        assert wanted in options
    assert "--unshare-net" not in Bubblewrap().plan(("true",), Policy(workspace, network="host")).argv


def test_seatbelts_profile(workspace: Path) -> None:
    granted = (Place("/usr", "read"), Place(str(ROOT.parent), "read"), Place('/odd "name\\', "write"))
    text = profile(granted, Policy(workspace))
    lines = text.splitlines()
    assert lines[:2] == ["(version 1)", "(deny default)"]
    assert '(allow file-read* (subpath "/usr"))' in lines
    assert '(allow file-read* file-write* (subpath "/odd \\"name\\\\"))' in lines
    assert lines.index(f'(deny file-read* (subpath "{ROOT}"))') > lines.index(
        f'(allow file-read* (subpath "{ROOT.parent}"))'
    )
    assert lines[-1] == "(deny network*)"
    assert "localhost" in profile(granted, Policy(workspace, network="loopback"))
    argv = Seatbelt().plan(("true",), Policy(workspace)).argv
    assert (argv[0], argv[1], argv[-1]) == ("/usr/bin/sandbox-exec", "-p", "true")
