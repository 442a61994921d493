"""Runs LLM actions, each gated on prepaid AI credits."""
