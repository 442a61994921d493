"""The SQL database that keeps what must be remembered, and the history of its schema."""
