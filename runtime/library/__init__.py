"""Actions of accounts: drafts and published versions in SQL, and what executions read of them.

Executions read this process's memory, then Redis, and never SQL. HTTP is not known here.
"""
