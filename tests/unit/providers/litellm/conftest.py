"""LiteLLM over our HTTP client, whose requests respx answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import httpx
import pytest
import respx

from providers.http import HttpAnswer, HttpClient
from tests.harness.litellm_module import litellm_module
from tests.harness.routes.comparing import ROUTES, RouteProvider


class Wire(HttpClient):
    """Our client with respx in the place of the network."""

    def __init__(self, router: respx.MockRouter) -> None:
        super().__init__()
        self._router = router

    async def send(
        self,
        method: str,
        url: str,
        headers: Iterable[tuple[bytes, bytes]],
        body: bytes,
        **options: Any,
    ) -> HttpAnswer:
        """Answer as the route that matches says; without one, fail."""
        request = httpx.Request(method, url, headers=list(headers), content=body)
        answer = await self._router.async_handler(request)
        return HttpAnswer(answer.status_code, tuple(answer.headers.raw), await answer.aread())


@pytest.fixture
def wire() -> respx.MockRouter:
    """The only way out: a request that no route expects fails."""
    return respx.MockRouter(assert_all_called=False)


@pytest.fixture(params=["acompletion", pytest.param("direct", marks=pytest.mark.long)])
async def provider(
    request: pytest.FixtureRequest, wire: respx.MockRouter
) -> AsyncIterator[RouteProvider]:
    """A provider whose requests respx sees as they are handed to our client."""
    provider = ROUTES[request.param](Wire(wire))
    await provider.warm_up()
    yield provider
    await provider.aclose()


@pytest.fixture
def hosts_wire(
    provider: RouteProvider, monkeypatch: pytest.MonkeyPatch
) -> Iterator[respx.MockRouter]:
    """The way out of calls that a host makes with LiteLLM itself, over httpx."""
    litellm = litellm_module()
    monkeypatch.setattr(litellm, "disable_aiohttp_transport", True)
    monkeypatch.setattr(
        litellm, "in_memory_llm_clients_cache", type(litellm.in_memory_llm_clients_cache)()
    )
    with respx.mock(assert_all_called=False) as router:
        yield router
