"""Calls models on the direct route where it is equal to LiteLLM's, else by ``acompletion``."""

from __future__ import annotations

from providers.base import Completion, CompletionRequest
from providers.http import HttpClient
from providers.litellm.adapter import LiteLLMProvider


class DirectProvider:
    """Calls models on the direct route, and by ``acompletion`` where there is none.

    Args:
        http: sends the requests; stays the caller's to close. Without one, it has its own.
    """

    def __init__(self, http: HttpClient | None = None) -> None:
        self._own_http = HttpClient() if http is None else None
        self._http = http or self._own_http
        self._litellm = LiteLLMProvider(self._http)

    async def warm_up(self) -> None:
        """Import LiteLLM in a thread: it takes seconds."""
        await self._litellm.warm_up()

    async def complete(self, request: CompletionRequest) -> Completion:
        """Return the model's answer.

        Raises:
            ProviderError: there is no answer.
        """
        return await self._litellm.complete(request)

    async def aclose(self) -> None:
        """Close the connections of this event loop, unless the client was handed in."""
        if self._own_http is not None:
            await self._own_http.aclose()
