"""Processes that hold an in-process engine, so that its memory is exact and its crash is not ours.

`frames` is what both sides say to each other, `process` the parent's side, `reply_parts` splits a reply by
kind; each other file is the program of one engine's worker (`python -m backends.workers.<engine>`). No
adapter lives here.
"""
