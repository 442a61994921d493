"""Requests that need no translation: what LiteLLM would send for them is known without it.

So a campaign of such a model starts without LiteLLM, whose import takes three seconds. A test
compares all of them with what LiteLLM sends. It holds for one version: with another one installed,
these requests are learned like all others.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import metadata
from typing import Any

from providers.base import CompletionRequest
from providers.direct.forms import OpenAIForm, Prepared, encoder
from providers.litellm.adapter import NO_KEY, response_format
from providers.litellm.routes import ROUTES

PROVED_WITH = "1.106.2"
"""The version of LiteLLM that the test ran with."""
_OPENAI = "openai"
_MODEL = re.compile(r"openai/(gpt-4(?:o|\.1)(?:-mini|-nano)?(?:-20\d\d-\d\d-\d\d)?)")
_ADDRESS = re.compile(r"https?://[a-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._-]+)*/?")
_KEY = re.compile(r"[A-Za-z0-9._-]+")


def plain(request: CompletionRequest) -> Prepared | None:
    """Return how to ask for requests like this one, if that is known without LiteLLM."""
    named = _MODEL.fullmatch(request.litellm_model)
    address = request.endpoint.api_base or ROUTES[_OPENAI].address or ""
    key = request.endpoint.api_key or NO_KEY
    if named is None or not _ADDRESS.fullmatch(address) or not _KEY.fullmatch(key):
        return None
    if not _is_proved():
        return None
    body: dict[str, Any] = {"model": named[1]}
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if form := response_format(request):
        body["response_format"] = form
    return Prepared(
        f"{address.rstrip('/')}/chat/completions",
        (
            (b"Authorization", f"Bearer {key}".encode()),
            (b"Accept", b"application/json"),
            (b"Content-Type", b"application/json"),
            (b"User-Agent", b"creditgate"),
        ),
        OpenAIForm(
            body,
            "max_tokens",
            [{"role": message["role"], "content": ""} for message in request.messages],
            encoder(escapes=False),
        ),
    )


@cache
def _is_proved() -> bool:
    return metadata.version("litellm") == PROVED_WITH
