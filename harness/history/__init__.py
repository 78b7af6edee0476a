"""All stored runs as tables: what `dyno sql`, `dyno history`, `dyno compare` and `dyno export` read.

`tables` says what there is, `run_rows` makes it of a run's files, `kept` keeps it beside
them, `database` asks it.
The JSON Lines of a run stay the truth: nothing here writes them, and what is kept beside them can be removed.
"""
