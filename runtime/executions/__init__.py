"""One execution from request to result: quote, call, settle, and what is kept of it."""
