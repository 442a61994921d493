"""Calls models through LiteLLM: the only module that imports it, at its first use."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pricing.usage import TokenUsage
from providers import litellm_errors
from providers.base import Completion, CompletionRequest, FinishReason
from providers.errors import FailureKind, PossiblyExecuted

GLOBALS: Mapping[str, object] = MappingProxyType(
    {
        "suppress_debug_info": True,
        "disable_hf_tokenizer_download": True,
        "telemetry": False,
        "drop_params": False,
        "num_retries": 0,
    }
)
"""LiteLLM's module globals that are set when it is imported."""

NO_KEY = "none"
"""Sent where an endpoint has no key: without one LiteLLM would take the environment's."""

_ENVIRONMENT_AT_IMPORT = {
    # Without it the import asks the internet for a price map, with retries.
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    # Set by the import itself, for the whole process.
    "TIKTOKEN_CACHE_DIR": None,
}
_importing = threading.Lock()
_module: Any = None


def _litellm() -> Any:
    """Import LiteLLM; the environment is afterwards as it was before."""
    global _module  # noqa: PLW0603 - a module can only be imported once a process
    with _importing:
        if _module is None:
            before = {name: os.environ.get(name) for name in _ENVIRONMENT_AT_IMPORT}
            try:
                _set_environment(_ENVIRONMENT_AT_IMPORT)
                import litellm
            finally:
                _set_environment(before)
            for name, value in GLOBALS.items():
                setattr(litellm, name, value)
            _module = litellm
    return _module


def _set_environment(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


class LiteLLMProvider:
    """A provider that speaks to all of LiteLLM's. Each call is one HTTP request: no retries."""

    async def warm_up(self) -> None:
        """Import LiteLLM in a thread: it takes seconds."""
        if _module is None:
            await asyncio.to_thread(_litellm)

    async def complete(self, request: CompletionRequest) -> Completion:
        """Return the model's answer.

        Raises:
            ProviderError: there is no answer; see ``litellm_errors``.
        """
        if _module is None:
            await self.warm_up()
        try:
            response = await _module.acompletion(**_arguments(request))
        except Exception as exc:
            raise litellm_errors.translate(_module, exc) from exc
        try:
            return _completion(response)
        except (AttributeError, IndexError, TypeError, ValueError) as exc:
            raise PossiblyExecuted(FailureKind.ERROR, "an answer of unknown form") from exc

    async def aclose(self) -> None:
        """Close LiteLLM's connections; they belong to this event loop."""
        if _module is None:
            return
        from litellm.llms.custom_httpx.async_client_cleanup import close_litellm_async_clients

        await close_litellm_async_clients()
        _module.in_memory_llm_clients_cache.flush_cache()


def _arguments(request: CompletionRequest) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "model": request.litellm_model,
        "messages": request.messages,
        "max_tokens": request.max_output_tokens,
        "api_key": request.endpoint.api_key or NO_KEY,
        "num_retries": 0,
        "max_retries": 0,
        # The caller bounds the call as a whole; LiteLLM's own limit is per read.
        "timeout": _TIMEOUT_S,
    }
    if request.endpoint.api_base is not None:
        arguments["api_base"] = request.endpoint.api_base
    if request.temperature is not None:
        arguments["temperature"] = request.temperature
    if request.response_schema is not None:
        arguments["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": request.response_schema},
        }
    return arguments


_TIMEOUT_S = 600


def _completion(response: Any) -> Completion:
    choice = response.choices[0]
    message = choice.message
    text, refused = message.content, bool(getattr(message, "refusal", None))
    if not text and getattr(message, "tool_calls", None):
        # Some models are made to answer in a form by a forced tool call.
        text = message.tool_calls[0].function.arguments
    finish = FinishReason.STOP
    if choice.finish_reason == "length":
        finish = FinishReason.LENGTH
    elif refused or choice.finish_reason in ("content_filter", "refusal"):
        finish = FinishReason.REFUSED
    return Completion(text=text or "", finish=finish, usage=_usage(response))


def _usage(response: Any) -> TokenUsage | None:
    """Read the usage, the dearer way where it contradicts itself.

    All zeros is what LiteLLM reports where an OpenAI-like provider gave no usage at all.
    """
    usage = getattr(response, "usage", None)
    if usage is None:
        return None
    prompt, completion = _count(usage.prompt_tokens), _count(usage.completion_tokens)
    # xAI leaves reasoning out of completion_tokens; it is in total_tokens alone.
    output = max(completion, _count(usage.total_tokens) - prompt)
    if prompt == 0 and output == 0:
        return None
    prompt_details = getattr(usage, "prompt_tokens_details", None)
    output_details = getattr(usage, "completion_tokens_details", None)
    written = min(_detail(prompt_details, "cache_creation_tokens"), prompt)
    cached = min(_detail(prompt_details, "cached_tokens"), prompt - written)
    reasoning = min(_detail(output_details, "reasoning_tokens"), output)
    return TokenUsage(prompt, output, cached, written, reasoning)


def _detail(details: Any, name: str) -> int:
    return _count(getattr(details, name, None))


def _count(value: Any) -> int:
    return max(0, int(value or 0))
