"""Which configured value stands in for which output, and why: pure policy."""
