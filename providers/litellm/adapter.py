"""Calls models through LiteLLM: the only module that imports it, at its first use."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import sys
import threading
import warnings
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

from providers.base import Completion, CompletionRequest, FinishReason
from providers.errors import ProviderError
from providers.litellm import answers as litellm_answers
from providers.litellm import errors as litellm_errors
from providers.litellm.usage import read_usage

GLOBALS: Mapping[str, object] = MappingProxyType(
    {
        "suppress_debug_info": True,  # else it prints lists of providers
        "disable_hf_tokenizer_download": True,  # else counting blocks while it asks the internet
        "drop_params": False,  # else it leaves out what a model can't take, and sends again
        "modify_params": False,  # else it changes max_tokens
    }
)
"""LiteLLM's module globals that are set when it is imported."""

NO_KEY = "none"
"""Sent where an endpoint has no key: without one LiteLLM would take the environment's."""

_OPENAI = "openai/"
_ANTHROPIC = "anthropic/"
_ADDRESSES = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "gemini": "https://generativelanguage.googleapis.com/v1beta",
    "mistral": "https://api.mistral.ai/v1",
    "deepseek": "https://api.deepseek.com/beta",
    "groq": "https://api.groq.com/openai/v1",
    "xai": "https://api.x.ai/v1",
    "openrouter": "https://openrouter.ai/api/v1",
}
"""LiteLLM's own, named where an endpoint has none: it would take the environment's."""

_CONNECT_TIMEOUT_S = 10
_READ_TIMEOUT_S = 3_600
"""A limit for each read; the caller bounds the call as a whole."""

_LONGEST_ANSWER_CHARS = 4_000_000
"""Far beyond what any model can say at once: longer text comes from something that is broken."""

_ENVIRONMENT_AT_IMPORT = {
    # Without these, the import asks the internet for a map of prices, with retries, and the
    # first Anthropic call for a list of headers.
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    # Without it, a file `.env` near the installed package is read into the environment.
    "LITELLM_MODE": "PRODUCTION",
    # Set by LiteLLM as it loads a tokenizer.
    "TIKTOKEN_CACHE_DIR": None,
}


@dataclass(frozen=True, slots=True)
class _LiteLLM:
    """LiteLLM after its import, and the parts of it that each call needs."""

    module: Any
    is_internal_call: ContextVar[bool]
    timeout: Any


_loading = threading.Lock()
_loaded: _LiteLLM | None = None


def _load() -> _LiteLLM:
    """Import LiteLLM, once in a process; the environment is left as it was."""
    global _loaded  # noqa: PLW0603 - imports are the process's
    with _loading:
        if _loaded is None:
            environ = os.environ  # noqa: TID251 - LiteLLM has no other switches than these
            before = {name: environ.get(name) for name in _ENVIRONMENT_AT_IMPORT}
            try:
                _update(environ, _ENVIRONMENT_AT_IMPORT)
                litellm = _import_whole()
            finally:
                _update(environ, before)
            _loaded = _tame(litellm)
    return _loaded


def _update(environ: MutableMapping[str, str], values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            environ.pop(name, None)
        else:
            environ[name] = value


def _import_whole() -> Any:
    """Import LiteLLM with the modules that it would otherwise load during a call."""
    import litellm
    import openai.resources.chat  # noqa: F401 - a second of the first call, on the event loop
    import tiktoken
    from litellm import anthropic_beta_headers_manager

    anthropic_beta_headers_manager.get_provider_name("anthropic")
    _ = litellm.encoding
    # LiteLLM counts a prompt where OpenAI says that the token limit leaves no room for an answer:
    # from the bundled file if it is read now, else from the internet.
    tiktoken.get_encoding("o200k_base")
    return litellm


def _tame(litellm: Any) -> _LiteLLM:
    """Set LiteLLM's globals, for the whole process."""
    import httpx
    from litellm._internal_context import is_internal_call
    from litellm.llms.custom_httpx.aiohttp_transport import LiteLLMAiohttpTransport
    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

    for name, value in GLOBALS.items():
        setattr(litellm, name, value)
    for name in ("LiteLLM", "openai"):
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            # A host that logs all at DEBUG would have prompts and answers in its logs.
            logger.setLevel(logging.WARNING)
    # A call that is cancelled while LiteLLM prepares it in a thread leaves what the thread
    # returns: a coroutine that has not begun, and has sent nothing.
    warnings.filterwarnings(
        "ignore", r"coroutine '[\w.<>]*completion\w*' was never awaited", RuntimeWarning
    )
    _send_once(AsyncHTTPHandler, is_internal_call)
    litellm_answers.guard_answers(LiteLLMAiohttpTransport, is_internal_call)
    _leave_costs_out(litellm, is_internal_call)
    _rehearse(litellm, is_internal_call)
    timeout = httpx.Timeout(_READ_TIMEOUT_S, connect=_CONNECT_TIMEOUT_S)
    return _LiteLLM(litellm, is_internal_call, timeout)


def _rehearse(litellm: Any, is_internal_call: ContextVar[bool]) -> None:
    """Make a call that is not sent: the first call loads more modules, which takes a second."""
    context = is_internal_call.set(True)
    # If something stops it, a budget of the host's perhaps, the real calls will report it.
    with suppress(Exception):
        litellm.completion(
            model="openai/gpt-4o-mini",
            messages=[{"role": "user", "content": "Hello"}],
            mock_response="Hello",
        )
    is_internal_call.reset(context)


def _send_once(http_handler: Any, is_internal_call: ContextVar[bool]) -> None:
    """Keep LiteLLM from sending our requests a second time.

    Its HTTP handler, which serves all providers without an SDK, does so when a connection breaks,
    whatever the number of retries, even if the provider has read the request and may bill it.
    """
    resend = http_handler.single_connection_post_request

    async def resend_unless_ours(self: Any, *args: Any, **kwargs: Any) -> Any:
        broken = sys.exception()
        if broken is not None and is_internal_call.get():
            raise broken
        return await resend(self, *args, **kwargs)

    http_handler.single_connection_post_request = resend_unless_ours


def _leave_costs_out(litellm: Any, is_internal_call: ContextVar[bool]) -> None:
    """Keep LiteLLM from pricing our answers: that takes 0.3 ms of CPU, and we have rate cards."""
    calculate = litellm.response_cost_calculator

    def calculate_unless_ours(*args: Any, **kwargs: Any) -> Any:
        return None if is_internal_call.get() else calculate(*args, **kwargs)

    litellm.response_cost_calculator = calculate_unless_ours


class LiteLLMProvider:
    """Calls any provider that LiteLLM knows. Each call is one HTTP request, without retries."""

    async def warm_up(self) -> None:
        """Import LiteLLM in a thread: it takes seconds."""
        if _loaded is None:
            await asyncio.to_thread(_load)

    async def complete(self, request: CompletionRequest) -> Completion:
        """Return the model's answer.

        Raises:
            ProviderError: there is no answer; ``errors.translate`` says which error it is.
        """
        litellm = _loaded if _loaded is not None else await asyncio.to_thread(_load)
        before = sys.exception()
        # In LiteLLM 1.106.2 this leaves out its handlers of failures and the queue of its
        # asynchronous handler of success, and nothing else. They take 0.4 ms of CPU, keep a task
        # running, and hand prompts and answers to whatever callbacks the process has set.
        context = litellm.is_internal_call.set(True)
        try:
            return _completion(
                await litellm.module.acompletion(**_arguments(request, litellm.timeout)),
                request.max_output_tokens,
            )
        except ProviderError:
            raise
        except Exception as exc:  # noqa: BLE001 - one table decides what it means
            error = litellm_errors.translate(litellm.module, exc, before)
        finally:
            litellm.is_internal_call.reset(context)
        # Not within the handler: LiteLLM's exceptions may quote the key, the prompt or the
        # answer, and must not come along as the context of ours.
        raise error

    async def aclose(self) -> None:
        """Close the connections of this event loop.

        LiteLLM keeps clients by process and event loop, so these are all that it has here.
        """
        if _loaded is None:
            return
        clients = _loaded.module.in_memory_llm_clients_cache
        mark = f"-{id(asyncio.get_running_loop())}"
        for key in [key for key in clients.cache_dict if key.endswith(mark)]:
            client = clients.cache_dict.pop(key)
            clients.ttl_dict.pop(key, None)
            if inspect.iscoroutinefunction(close := getattr(client, "close", None)):
                await close()
        # LiteLLM times each request in a task of its own, which ends when it gets to run.
        await asyncio.sleep(0)


def _arguments(request: CompletionRequest, timeout: Any) -> dict[str, Any]:
    model, endpoint = request.litellm_model, request.endpoint
    arguments: dict[str, Any] = {
        "model": model,
        "messages": request.messages,
        "max_tokens": request.max_output_tokens,
        "api_key": endpoint.api_key or NO_KEY,
        "num_retries": 0,
        "max_retries": 0,
        "timeout": timeout,
    }
    address = _address(model, endpoint.api_base)
    if address is not None:
        arguments["api_base"] = address
    if request.temperature is not None:
        arguments["temperature"] = request.temperature
    if request.response_schema is not None:
        response_format = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": request.response_schema},
        }
        if _is_sent_by_openai_sdk(model):
            # The same goes over the wire, but the SDK does not look at each part of the schema,
            # which takes 0.7 ms of CPU for 77 options.
            arguments["extra_body"] = {"response_format": response_format}
        else:
            arguments["response_format"] = response_format
    return arguments


def refuses_temperature(litellm_model: str, temperature: float) -> bool:
    """Return whether LiteLLM would refuse to send this temperature to the model.

    The first call imports LiteLLM, which takes seconds.
    """
    litellm = _load().module
    try:
        model, provider, _, _ = litellm.get_llm_provider(litellm_model)
        litellm.utils.get_optional_params(
            model=model, custom_llm_provider=provider, temperature=temperature
        )
    except litellm.UnsupportedParamsError:
        return True
    except Exception:  # noqa: BLE001 - what else is wrong with a model is another check's matter
        return False
    return False


def _address(model: str, api_base: str | None) -> str | None:
    """Return the address as LiteLLM wants it: for Anthropic without the version, which it adds."""
    if api_base is None:
        return _ADDRESSES.get(model.partition("/")[0])
    if model.startswith(_ANTHROPIC):
        return api_base.rstrip("/").removesuffix("/v1")
    return api_base


@cache
def _is_sent_by_openai_sdk(model: str) -> bool:
    """Return whether LiteLLM calls the model through OpenAI's SDK, as a chat completion."""
    if not model.startswith(_OPENAI):
        return False
    bridged, _ = _load().module.main.responses_api_bridge_check(
        model=model.removeprefix(_OPENAI), custom_llm_provider="openai"
    )
    return bool(bridged.get("mode") != "responses")


def _completion(response: Any, max_output_tokens: int) -> Completion:
    choice = response.choices[0]
    if _broke_off(choice):
        raise litellm_errors.broken_off()
    message = choice.message
    text = message.content
    if not text and getattr(message, "tool_calls", None):
        # Some models are made to answer in a form by a forced tool call.
        text = message.tool_calls[0].function.arguments
    text = text or ""
    if len(text) > _LONGEST_ANSWER_CHARS:
        raise ValueError("the answer is too long to be a model's")
    usage, reasoning_beside = read_usage(getattr(response, "usage", None), answered=bool(text))
    finish = FinishReason.STOP
    if choice.finish_reason == "length":
        finish = FinishReason.LENGTH
    elif choice.finish_reason == "content_filter" or _refusal(message):
        finish = FinishReason.REFUSED
    elif usage is not None and usage.output_tokens >= max_output_tokens:
        # LiteLLM says "stop" of Anthropic's forced tool calls, also of those that were cut off.
        finish = FinishReason.LENGTH
    return Completion(text, finish, usage, reasoning_beside)


def _broke_off(choice: Any) -> bool:
    """Return whether the provider broke off with an error, which LiteLLM calls a normal stop."""
    kept = getattr(choice, "provider_specific_fields", None) or {}
    return "error" in (choice.finish_reason, kept.get("native_finish_reason"))


def _refusal(message: Any) -> Any:
    """Return OpenAI's ``refusal``, which LiteLLM keeps among the provider-specific fields."""
    return (getattr(message, "provider_specific_fields", None) or {}).get("refusal")
