"""The providers that can be called: where each one is, and which client LiteLLM takes for it.

Every request must go through our own HTTP client, so a provider is here only if LiteLLM can be
handed a client for it and sends one request with it. A test holds that for each of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Client(StrEnum):
    """The client that LiteLLM sends a provider's requests with."""

    SDK = "OpenAI's SDK"
    AZURE = "OpenAI's SDK for Azure"
    HANDLER = "LiteLLM's HTTP handler"


@dataclass(frozen=True, slots=True)
class Route:
    """The way to call a provider. Without an address, an endpoint must have its ``api_base``."""

    client: Client
    address: str | None = None


def _routes(client: Client, addresses: Mapping[str, str | None]) -> dict[str, Route]:
    return {provider: Route(client, address) for provider, address in addresses.items()}


ROUTES: Mapping[str, Route] = MappingProxyType(
    _routes(
        Client.HANDLER,
        {
            "anthropic": "https://api.anthropic.com",
            "azure_ai": None,
            "deepseek": "https://api.deepseek.com/beta",
            "fireworks_ai": "https://api.fireworks.ai/inference/v1",
            "gemini": "https://generativelanguage.googleapis.com/v1beta",
            "groq": "https://api.groq.com/openai/v1",
            "hosted_vllm": None,
            "minimax": "https://api.minimax.io/v1",
            "mistral": "https://api.mistral.ai/v1",
            "ollama": None,
            "ollama_chat": None,
            "openrouter": "https://openrouter.ai/api/v1",
            "together_ai": "https://api.together.ai/v1",
            "xai": "https://api.x.ai/v1",
        },
    )
    | _routes(Client.AZURE, {"azure": None})
    | _routes(
        Client.SDK,
        {
            "ai21_chat": "https://api.ai21.com/studio/v1",
            "baseten": "https://inference.baseten.co/v1",
            "cerebras": "https://api.cerebras.ai/v1",
            "codestral": "https://codestral.mistral.ai/v1",
            "dashscope": "https://dashscope.aliyuncs.com/compatible-mode/v1",
            "deepinfra": "https://api.deepinfra.com/v1/openai",
            "featherless_ai": "https://api.featherless.ai/v1",
            "friendliai": "https://api.friendli.ai/serverless/v1",
            "hyperbolic": "https://api.hyperbolic.xyz/v1",
            "inception": "https://api.inceptionlabs.ai/v1",
            "lambda_ai": "https://api.lambda.ai/v1",
            "litellm_proxy": None,
            "llamafile": None,
            "lm_studio": None,
            "meta_llama": "https://api.llama.com/compat/v1",
            "moonshot": "https://api.moonshot.ai/v1",
            "nebius": "https://api.studio.nebius.ai/v1",
            "novita": "https://api.novita.ai/v3/openai",
            "nscale": "https://inference.api.nscale.com/v1",
            "nvidia_nim": "https://integrate.api.nvidia.com/v1",
            "openai": "https://api.openai.com/v1",
            "perplexity": "https://api.perplexity.ai",
            "sambanova": "https://api.sambanova.ai/v1",
            "scaleway": "https://api.scaleway.ai/v1",
            "vercel_ai_gateway": "https://ai-gateway.vercel.sh/v1",
            "volcengine": "https://ark.cn-beijing.volces.com/api/v3",
            "xinference": None,
            "zai": "https://api.z.ai/api/paas/v4",
        },
    )
)
"""By the prefix of ``litellm_model``. Addresses are LiteLLM's own: it is always told one, since it
would take it from the environment."""

WITHOUT_JSON_OBJECT = frozenset(
    ("anthropic", "featherless_ai", "meta_llama", "volcengine", "zai"),
)
"""Those for which LiteLLM leaves out ``{"type": "json_object"}``, or refuses it."""

OF_THE_HOST = "custom"
"""The prefix of models that only a provider of the host's own can call."""


def provider_of(litellm_model: str) -> str:
    """Return the provider in front of a model's name."""
    return litellm_model.partition("/")[0]
