"""Makes the attempts that are named, each whatever became of the others.

Runs inside, from a copy of this folder: `python3 -m harness.sandbox.intruder ATTEMPTS < scene.json`. It writes one JSON
object a line. What it could leave behind outside lies in the battery's own folder.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

from harness.sandbox.intruder import files, limits, network, processes, reading
from harness.sandbox.intruder.attempt import NotApplicableError, Scene


def main() -> None:
    """Make them in the order in which they are named."""
    scene: Scene = json.load(sys.stdin)
    known = {
        name: each for module in (files, limits, network, processes, reading) for name, each in vars(module).items()
    }
    for name in sys.argv[1].split(","):
        attempt: Callable[[Scene], str] = known[name]
        try:
            answer = {"attempt": name, "held": False, "happened": attempt(scene)}
        except NotApplicableError as reason:
            answer = {"attempt": name, "held": None, "happened": str(reason)}
        except OSError as error:
            answer = {"attempt": name, "held": True, "happened": str(error.strerror or error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
