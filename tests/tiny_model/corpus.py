"""What the model reads: the Python standard library, and synthetic chats in the shipped template.

The library text is that of the running interpreter; the PSF licence permits copies and derived works with its
notice, which `profiles/models/tiny/README.md` gives. Every twentieth file is held out for perplexity.
Training on another trajectory means adding a generator with its weight to `GENERATORS`.
"""

import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from tests.tiny_model.chats import Session, everyday, quiz
from tests.tiny_model.coding import coding
from tests.tiny_model.templates import render

PACKAGES = (
    "asyncio",
    "collections",
    "concurrent",
    "email",
    "html",
    "http",
    "importlib",
    "json",
    "logging",
    "unittest",
)
HELD_OUT_EVERY = 20

# Weight: how often a short session is drawn from it. `exchanges` or `tasks` make a session as long as wanted.
GENERATORS: tuple[tuple[int, Callable[..., Session]], ...] = ((5, everyday), (4, coding), (6, quiz))


def library_texts(*, held_out: bool = False) -> list[str]:
    """Texts of the library's modules, in a fixed order: those for training, or the held-out ones."""
    root = Path(sysconfig.get_paths()["stdlib"])
    files = sorted(root.glob("*.py")) + [path for name in PACKAGES for path in sorted((root / name).rglob("*.py"))]
    kept = (path for number, path in enumerate(files) if (number % HELD_OUT_EVERY == 0) == held_out)
    return [path.read_text(encoding="utf-8", errors="ignore") for path in kept]


def sessions(seed: int) -> Iterator[Session]:
    """Endless short sessions; the same seed gives the same ones."""
    random = Random(seed)
    weights, generators = zip(*GENERATORS, strict=True)
    while True:
        yield random.choices(generators, weights)[0](random)


def long_session(random: Random, tokens: int) -> Session:
    """One conversation of at least `tokens` tokens (about: a task takes no fewer than 150)."""
    if random.random() < 0.25:
        return random.choice((everyday, quiz))(random, exchanges=tokens // 20 + 1)
    return coding(random, tasks=tokens // 150 + 1)


def text_of(session: Session) -> str:
    """A session as the model reads it."""
    return render(session.messages, session.tools)
