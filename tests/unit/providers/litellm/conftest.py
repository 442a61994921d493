"""LiteLLM over httpx, whose requests respx answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import respx

from providers.litellm.adapter import LiteLLMProvider
from tests.harness.litellm_module import litellm_module


@pytest.fixture
async def provider(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LiteLLMProvider]:
    """An adapter whose requests respx can see: LiteLLM's usual transport goes past it.

    LiteLLM keeps clients by event loop. Each test has a loop of its own, and leaves no clients.
    """
    provider = LiteLLMProvider()
    await provider.warm_up()
    monkeypatch.setattr(litellm_module(), "disable_aiohttp_transport", True)
    yield provider
    await provider.aclose()


@pytest.fixture
def wire() -> Iterator[respx.MockRouter]:
    """The only way out: a request that no route expects fails."""
    with respx.mock(assert_all_called=False) as router:
        yield router
