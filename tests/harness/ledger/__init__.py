"""A ledger to test: its desk, its questions, and the machine that asks them at random."""
