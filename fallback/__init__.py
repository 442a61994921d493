"""Fallback values and the reasons for them: pure policy."""
