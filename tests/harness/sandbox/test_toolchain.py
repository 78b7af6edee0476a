"""The Python of sandboxed commands."""

from __future__ import annotations

import subprocess
from pathlib import Path

from harness.sandbox.toolchain import toolchain


def run(*command: str) -> str:
    done = subprocess.run(command, env={}, cwd="/", capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def test_it_has_pytest_and_nothing_else_of_ours() -> None:
    made = toolchain()
    assert made.missing == ()
    assert "pytest" in run(str(made.bin / "pytest"), "--version")
    script = (
        "import importlib.util as u; print([n for n in ('pytest', 'msgspec', 'numpy', 'harness') if u.find_spec(n)])"
    )
    assert run(str(made.bin / "python3"), "-c", script) == "['pytest']\n"
    assert str(made.folder) in run(str(made.bin / "python"), "-c", "import sys; print(sys.prefix)")


def test_it_is_made_once() -> None:
    assert toolchain() is toolchain()
    assert toolchain.__wrapped__() == toolchain()


def test_what_is_readable_is_no_folder_of_packages() -> None:
    made = toolchain()
    assert made.folder in made.readable
    assert not any(folder.name in ("site-packages", "dist-packages") for folder in made.readable)
    assert all(folder.exists() for folder in made.readable)


def test_an_incomplete_one_is_made_again() -> None:
    made = toolchain()
    (made.bin / "python3").unlink()
    assert toolchain.__wrapped__() == made
    assert (made.bin / "python3").exists()
    assert not [draft for draft in made.folder.parent.glob("python-*") if draft != made.folder and _is_draft(draft)]


def _is_draft(folder: Path) -> bool:
    return len(folder.name) != len("python-") + 12
