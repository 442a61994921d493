"""What an execution may cost and what it did cost: pure functions on integers."""
