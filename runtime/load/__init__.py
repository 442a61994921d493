"""Load tests: many executions against a mock provider, and a verdict on the books afterwards.

The room plans a load, runs it in processes of its own, measures what happened, and compares the
ledger's journals with what the mock provider counted. It calls no real provider and touches no
account but its own. The display on the terminal is the command line's.
"""
