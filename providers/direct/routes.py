"""The route that a model takes, told without LiteLLM."""

from __future__ import annotations

from providers.base import ModelRoute
from providers.litellm.routes import ROUTES, provider_of

_OWN_WAYS = frozenset(("ollama",))
"""Providers whose requests LiteLLM makes of a text, or whose answers it looks for elsewhere."""
_RESPONSES = "responses"


def route_of(litellm_model: str, asked: ModelRoute, mode: str | None = None) -> tuple[bool, str]:
    """Return whether a model is called directly, and if not, why not.

    Args:
        asked: the route that the configuration asks for.
        mode: the model's mode in LiteLLM's price map, if it is known.
    """
    if asked is ModelRoute.ACOMPLETION:
        return False, "configured"
    provider = provider_of(litellm_model)
    if provider not in ROUTES or provider in _OWN_WAYS:
        return False, f"the provider {provider} has no direct route"
    if mode == _RESPONSES:
        return False, "the model answers through OpenAI's responses API"
    return True, ""
