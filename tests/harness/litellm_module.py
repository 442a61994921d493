"""LiteLLM's own module, for tests that look at what it does."""

from __future__ import annotations

from typing import Any

from providers.litellm import adapter


def litellm_module() -> Any:
    """Return LiteLLM as the adapter has it."""
    assert adapter._loaded is not None
    return adapter._loaded.module
