"""The clients that LiteLLM is handed, each of which sends through our own."""

from __future__ import annotations

from collections import OrderedDict
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx
import litellm
from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler
from openai import AsyncAzureOpenAI, AsyncOpenAI

from providers.http import HttpClient
from providers.litellm.routes import Client
from providers.litellm.transport import OurTransport

_MOST_CLIENTS = 256
"""One for each address and key of OpenAI's SDK. They hold no connections."""

_HEADERS = {"Accept": "application/json", "Content-Type": "application/json"}


class _PlainRequests:
    """Requests without the headers that the SDK takes from the environment, and without retries.

    LiteLLM sets ``max_retries`` to 2 on the client that it is handed for a provider whose
    parameters don't list it. Each retry would wait, though nothing is sent twice.
    """

    @property
    def default_headers(self) -> dict[str, Any]:
        return _HEADERS

    @property
    def max_retries(self) -> int:
        return 0

    @max_retries.setter
    def max_retries(self, value: int) -> None:
        pass


class _OpenAI(_PlainRequests, AsyncOpenAI):
    """OpenAI's client."""


class _AzureOpenAI(_PlainRequests, AsyncAzureOpenAI):
    """Azure's client without the token that it takes from the environment."""

    async def _get_azure_ad_token(self) -> None:
        return None


class Clients:
    """Makes and keeps LiteLLM's clients. None of them belongs to an event loop."""

    def __init__(self, client: HttpClient) -> None:
        self._http = httpx.AsyncClient(
            transport=OurTransport(client),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            trust_env=False,
            follow_redirects=False,
        )
        self._handler = AsyncHTTPHandler(
            transport=OurTransport(client), timeout=None, follow_redirects=False
        )
        # From here on it is not the handler's to close.
        self._handler.client = self._http
        self._sdk: OrderedDict[tuple[Client, str, str], AsyncOpenAI] = OrderedDict()

    def get(self, kind: Client, address: str, key: str) -> Any:
        """Return the client of a kind for an address and a key."""
        if kind is Client.HANDLER:
            return self._handler
        name = (kind, address, key)
        client = self._sdk.pop(name, None) or self._make(kind, address, key)
        self._sdk[name] = client
        if len(self._sdk) > _MOST_CLIENTS:
            self._sdk.popitem(last=False)
        return client

    def _make(self, kind: Client, address: str, key: str) -> AsyncOpenAI:
        if kind is Client.SDK:
            return _OpenAI(api_key=key, base_url=address, http_client=self._http)
        return _AzureOpenAI(
            api_key=key,
            azure_endpoint=address,
            api_version=litellm.AZURE_DEFAULT_API_VERSION,
            http_client=self._http,
        )
