"""Fallback values and reasons."""
