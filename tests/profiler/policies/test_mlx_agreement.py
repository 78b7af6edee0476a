"""Chats and generated sessions on the real mlx_lm.server and worker: every request is predicted to the token."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.profiler.policies.chats import random_session
from tests.profiler.policies.mlx_agreement import all_rows, in_process_rows, server_rows

pytest.importorskip("mlx.core", reason="mlx-lm is not installed: pip install 'llmdyno[mlx]'")
pytestmark = pytest.mark.engine


def test_mlx_server(tmp_path: Path) -> None:
    """A state that cannot be cut back: snapshots count, and with three entries they drive each other out."""
    rows = list(server_rows("recurrent", tmp_path, [random_session(5, 8)], entries=3))
    assert [row for row in rows if not row.agrees] == []
    assert len({row.cached_tokens for row in rows}) > 2


def test_mlx_in_process(tmp_path: Path) -> None:
    rows = list(in_process_rows("sliding_window", tmp_path, [random_session(6, 6)]))
    assert [row for row in rows if not row.agrees] == []
    assert len({row.cached_tokens for row in rows}) > 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["full", "sliding_window", "recurrent"])
def test_every_kind_of_session_on_every_kind_of_cache(kind: str, tmp_path: Path) -> None:
    rows = [*all_rows(kind, tmp_path, seed=404)]
    assert [row for row in rows if not row.agrees] == []
    assert len(rows) > 100
