"""Processes that execute, and the table of what each fault means."""
