"""Pacing of model calls: queues, the shared rule, circuit breaker, retries."""
