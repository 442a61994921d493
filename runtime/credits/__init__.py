"""The ledger: credits in Redis, one atomic script a verb."""
