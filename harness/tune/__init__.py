"""Tuning a harness: a sequence of experiments that gets from many settings to one, or to «no better setting».

`space` holds the levers that are varied, `design` and `effects` the screening, `prediction` and `search` the choice of
what is raced, `racing` the race, `tuning` the order of it all. No engine is started here: who tunes hands in a
`Laboratory` that performs stages (`harness.cli.tune_stand` does so by experiments, tests by a formula).
"""
