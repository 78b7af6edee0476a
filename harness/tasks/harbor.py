"""Tasks in Harbor's own layout, as far as they need no image of their own: files beside a Dockerfile, absolute paths.

Harbor copies `environment/` into `/app` of a container, puts `tests/` at `/tests`, and reads `/logs/verifier`. Without
a container these become folders of a run. A Dockerfile is not executed: a task that installs something there fails
here, and its verifier says so. Verified on hand-written tasks of this form, not on a published set.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

__all__ = ["make_workspace", "place_paths"]

_OF_THE_IMAGE = ("Dockerfile", "docker-compose.yaml", "docker-compose.yml", ".dockerignore")
_ABSOLUTE = re.compile(r"(?<![\w./-])/(logs/verifier|tests|app)(?![\w.-])")


def make_workspace(folder: Path) -> None:
    """Give a task's folder a `workspace/`, from `environment/` if there is one, and texts that name it as `.`."""
    if (folder / "workspace").is_dir():
        return
    if (folder / "environment").is_dir():
        unneeded = shutil.ignore_patterns(*_OF_THE_IMAGE)
        shutil.copytree(folder / "environment", folder / "workspace", ignore=unneeded, symlinks=True)
    (folder / "workspace").mkdir(exist_ok=True)
    for text in [*folder.glob("instruction*.md"), *folder.glob("solution/*.sh")]:
        place_paths(text, {"app": "."})


def place_paths(path: Path, places: dict[str, str]) -> None:
    """Put real folders in place of a container's in one text; `places` has `app`, `tests`, `logs/verifier`."""
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    placed = _ABSOLUTE.sub(lambda found: places.get(found.group(1), found.group()), text)
    if placed != text:
        path.write_text(placed, encoding="utf-8", errors="surrogateescape")
