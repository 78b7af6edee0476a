"""What every test starts from: no settings of the user's shell, a fixed width, no deadline on properties."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# A property may run beside a build: its time says nothing. In CI the examples are the same every run.
settings.register_profile("dyno", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("dyno")

_FROM_THE_SHELL = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "force_color", "no_color", "columns")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell must not matter: a proxy would take the requests to loopback, a width would wrap tables."""
    for name in list(os.environ):
        if name.lower() in _FROM_THE_SHELL or name.startswith("DYNO_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
