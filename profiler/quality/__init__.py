"""How far a quant is from its reference: perplexity, KL divergence, and changed tool calls, with their uncertainty."""
