"""How often and how many at once a model is called: queue, shared rule, breaker, retries."""
