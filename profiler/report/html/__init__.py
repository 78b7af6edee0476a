"""The page of a run, an experiment or a comparison of quants: one file that needs no network. Writes no file."""

from __future__ import annotations
