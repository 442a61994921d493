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


class _OpenAI(AsyncOpenAI):
    """OpenAI's client without the headers that it takes from the environment."""

    @property
    def default_headers(self) -> dict[str, Any]:
        return _HEADERS


class _AzureOpenAI(AsyncAzureOpenAI):
    """Azure's client without the headers, and the token, that it takes from the environment."""

    @property
    def default_headers(self) -> dict[str, Any]:
        return _HEADERS

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
            return _OpenAI(api_key=key, base_url=address, http_client=self._http, max_retries=0)
        return _AzureOpenAI(
            api_key=key,
            azure_endpoint=address,
            api_version=litellm.AZURE_DEFAULT_API_VERSION,
            http_client=self._http,
            max_retries=0,
        )
