"""What llama.cpp keeps for a sequence, as far as it decides about reuse: cells, checkpoints, saved prompts."""
