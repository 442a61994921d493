"""Calls models through LiteLLM; the only room that imports it, and lazily."""
