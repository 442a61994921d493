"""Drills: real processes on a real ledger while servers and processes are killed, then the books.

``python -m tests.drills --help`` says how they are run, docs/drills.md what was seen.
"""
