"""Tests on a real Redis and real HTTP on loopback."""
