"""Fixtures of the tiny model's tests: the shipped files, and one real server for all tests that ask it."""

from collections.abc import Iterator

import pytest

from tests.tiny_model.server import Server, serving
from tests.tiny_model.templates import FOLDER


@pytest.fixture(scope="session")
def tiny_server() -> Iterator[Server]:
    """A real llama-server over the F16 file; the test is skipped when xllamacpp is not installed."""
    pytest.importorskip("xllamacpp")
    with serving(FOLDER / "tiny-f16.gguf", context=8192) as server:
        yield server
