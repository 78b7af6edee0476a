"""Where an engine's memory is and goes: sampled by the system it runs on, summed up by session."""
