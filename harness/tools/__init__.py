"""The tools that the built-in agent gives a model, one file per kind."""
