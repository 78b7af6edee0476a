"""A workspace, a back end by its name, and one survey for all tests: it attacks every back end, which takes seconds."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from harness.sandbox.base import Sandbox
from harness.sandbox.choice import Survey, survey
from harness.workspace import claim
from tests.harness.sandbox.back_ends import back_end


@pytest.fixture
def workspace(tmp_path: Path) -> Generator[Path]:
    with claim(tmp_path) as place:
        yield place


@pytest.fixture
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    return back_end(request.param)


@pytest.fixture(scope="session")
def surveyed() -> Survey:
    return survey()
