"""The journal for good: copied into SQL, reported, audited, and turned back into a ledger."""
