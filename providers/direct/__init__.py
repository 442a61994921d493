"""Calls models by LiteLLM's translations over our own HTTP client, without ``acompletion``."""
