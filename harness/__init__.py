"""What drives a model as an agent would: recorded sessions and their replay, settings, tools, experiments.

It may import `profiler` and `backends`, and neither of them imports it.
"""
