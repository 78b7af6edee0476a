"""Toolbench: short questions that only a few right tool calls answer; small enough for the bundled model."""
