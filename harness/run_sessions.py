"""The sessions of a stored run, found again so that it can be repeated: by bundled name, or in the files it was given.

What a run notes of its sessions is made here too, so that both sides agree. A session that is no longer what was
replayed is an error: its figures could not be compared.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final

import msgspec

from harness.session_maker.generator import KINDS, fewest_turns, generate
from harness.sessions import Session, SessionError, bundled_sessions, read_session
from profiler.records import RunInfo

__all__ = ["demo_sessions", "described", "sessions_of"]

_SEED, _TURNS, _SCALE = 7, 6, 0.5
_LEFT_OUT: Final = ("append-only-long",)


def demo_sessions() -> tuple[Session, ...]:
    """The bundled kinds of sessions, shortened so that two cores are done in a minute: what `dyno demo` replays."""
    # Seeds of their own, or the sessions would begin with the same text and find each other's cache.
    return tuple(
        generate(kind, seed=_SEED + number, turns=max(_TURNS, fewest_turns(kind)), scale=_SCALE)
        for number, kind in enumerate(KINDS)
        if kind not in _LEFT_OUT
    )


def described(sessions: tuple[Session, ...], named: tuple[str, ...]) -> dict[str, Any]:
    """What a run's settings say of its sessions; `named` are the names, files and folders that were asked for."""
    return {
        "sessions": {
            s.name: {"provokes": s.provokes or "unknown", "side": s.side or "unknown", "sha256": _sha256(s)}
            for s in sessions
        },
        "named": [str(Path(name).absolute()) if Path(name).exists() else name for name in named],
    }


def sessions_of(info: RunInfo, names: tuple[str, ...]) -> tuple[Session, ...]:
    """The sessions of a run with these names, as it replayed them.

    Raises:
        SessionError: a file is gone, or holds another session by now.
    """
    noted: dict[str, dict[str, Any]] = info.settings.get("sessions", {})
    found = {session.name: session for session in _candidates(info)}
    return tuple(_same(name, found.get(name), noted.get(name, {}).get("sha256")) for name in names)


def _candidates(info: RunInfo) -> list[Session]:
    """Every session that may be meant, the nearest last."""
    candidates = list(bundled_sessions())
    if info.command == "demo":
        candidates += demo_sessions()
    for name in info.settings.get("named", ()):
        path = Path(name)
        if path.is_dir():
            candidates += map(read_session, sorted(path.glob("*.jsonl")))
        elif path.suffix or path.exists():
            candidates.append(read_session(path))
    return candidates


def _same(name: str, session: Session | None, sha256: str | None) -> Session:
    if session is None:
        hint = "run dyno cache with the session's file (--sessions) and use that run"
        raise SessionError(Path(name), None, "this run's session is not found here", hint)
    if sha256 is not None and sha256 != _sha256(session):
        hint = "restore the file, or measure the session as it is now: dyno cache … --sessions FILE"
        raise SessionError(Path(name), None, "the session is not the one that this run replayed", hint)
    return session


def _sha256(session: Session) -> str:
    return hashlib.sha256(msgspec.json.encode(session)).hexdigest()
