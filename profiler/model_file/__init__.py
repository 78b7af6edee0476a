"""Read a model without loading it: GGUF files, split ones, and MLX folders."""
