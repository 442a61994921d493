"""Actions: their specs, prompts and typed outputs, and the requests to run them."""
