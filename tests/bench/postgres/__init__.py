"""A ledger in PostgreSQL that does the same work, and the server that it runs on."""
