"""What the answers of an action have been like, learned from its executions."""
