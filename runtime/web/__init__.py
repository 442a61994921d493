"""The service: HTTP in front of the runtime, the ledger, the reports and what SQL remembers.

Nothing is decided here that concerns credits or fallback values: a route checks its input, calls
the room that decides, and writes the answer.
"""
