"""The built-in agent: a small loop that drives any engine, and the levers that vary what it sends."""
