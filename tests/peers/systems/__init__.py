"""One module a system: its environment, its processes, and its books."""
