"""LiteLLM's own module, for tests that look at what it does."""

from __future__ import annotations

import sys
from typing import Any


def litellm_module() -> Any:
    """Return LiteLLM as the adapter imported it."""
    return sys.modules["litellm"]


def is_internal_call() -> bool:
    """Return whether LiteLLM takes the calls of this context for its own."""
    return bool(sys.modules["litellm._internal_context"].is_internal_call.get())
