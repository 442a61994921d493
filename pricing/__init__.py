"""Quotes, costs and offers: pure functions on integers."""
