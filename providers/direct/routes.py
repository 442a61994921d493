"""The models that have a direct route, told without LiteLLM."""

from __future__ import annotations

from providers.base import ModelRoute
from providers.litellm.routes import OF_THE_HOST, ROUTES, Client, provider_of


def route_of(litellm_model: str, asked: ModelRoute) -> tuple[bool, str]:
    """Return whether a model is called directly, and why not if it isn't."""
    if asked is ModelRoute.ACOMPLETION:
        return False, "configured"
    provider = provider_of(litellm_model)
    if provider == OF_THE_HOST or provider not in ROUTES:
        return False, "the provider has no direct route"
    if ROUTES[provider].client is Client.AZURE or provider == "gemini":
        return False, "the provider has no direct route"
    return True, ""
