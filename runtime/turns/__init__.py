"""Turns to call an endpoint, shared by all processes through Redis."""
