"""Both routes to a model, asked the same: what to ask, what to answer, and how they compare."""
