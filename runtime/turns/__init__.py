"""Turns at endpoints, shared by all processes through Redis."""
