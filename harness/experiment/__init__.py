"""Experiments: two or more arms on the same tasks in randomised blocks, and what came of them.

`plan` holds what is to be done, `plan_files` and `plan_words` make it of TOML and of the command line, `blocks` puts
its dispatches in order, `store` keeps it on disk so that it can be resumed, `running` goes through it, `comparability`
refuses what cannot be compared, `observations` and `decomposition` turn stored dispatches into figures, and `document`
into what is reported. The statistics are `harness.stats`.
"""

from __future__ import annotations
