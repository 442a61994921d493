"""LiteLLM's own module, for tests that look at what it does."""

from __future__ import annotations

from typing import Any

from providers.litellm import loading


def litellm_module() -> Any:
    """Return LiteLLM as the adapter has it."""
    loaded = loading.loaded()
    assert loaded is not None
    return loaded.module
