"""Logs, metrics and traces of the service: observers of what the runtime and HTTP do.

Each imports its library itself, so that nothing else needs it. None of them is told prompts,
values, ids of people or secrets.
"""
