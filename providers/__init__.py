"""Model calls: one port, its LiteLLM adapter, pacing, and a mock provider."""
