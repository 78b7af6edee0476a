"""Whether a model fits a machine: the memory it would take, by the surest basis there is, against what there is."""
