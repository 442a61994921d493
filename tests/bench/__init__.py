"""Benchmarks: ``python -m tests.bench``. What each measures and why: docs/benchmarks.md."""
