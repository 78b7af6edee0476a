"""The page of a run or of an experiment: one file that needs no network. `pages` makes it; nothing here writes a file."""

from __future__ import annotations


