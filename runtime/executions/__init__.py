"""Executions from request to result: quote, reserve, call, settle, and the stored outcome."""
