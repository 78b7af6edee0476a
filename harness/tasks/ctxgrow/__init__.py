"""The pack `ctxgrow`: much reading, so that the context grows to a size; what the cache makes of it matters."""
