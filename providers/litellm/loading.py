"""LiteLLM's import, and what is changed in it for the process: the only module that imports it."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import warnings
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

GLOBALS: Mapping[str, object] = MappingProxyType(
    {
        "suppress_debug_info": True,  # else it prints lists of providers
        "disable_hf_tokenizer_download": True,  # else counting blocks while it asks the internet
        "drop_params": False,  # else it leaves out what a model can't take, and sends again
        "modify_params": False,  # else it changes max_tokens
    }
)
"""LiteLLM's module globals that are set when it is imported."""

_ENVIRONMENT_AT_IMPORT = {
    # Without these, the import asks the internet for a map of prices, with retries, and the
    # first Anthropic call for a list of headers.
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    # Without it, a file `.env` near the installed package is read into the environment.
    "LITELLM_MODE": "PRODUCTION",
    # Set by LiteLLM as it loads a tokenizer.
    "TIKTOKEN_CACHE_DIR": None,
    # With these, LiteLLM and OpenAI's SDK log prompts and answers.
    "LITELLM_LOG": None,
    "OPENAI_LOG": None,
}


@dataclass(frozen=True, slots=True)
class LiteLLM:
    """LiteLLM after its import, and the parts of it that each call needs."""

    module: Any
    is_internal_call: ContextVar[bool]


_loading = threading.Lock()
_loaded: LiteLLM | None = None


def loaded() -> LiteLLM | None:
    """Return LiteLLM if it has been imported here."""
    return _loaded


async def load_in_thread() -> LiteLLM:
    """Import LiteLLM, if that has not been done: in a thread, as it takes seconds."""
    return _loaded if _loaded is not None else await asyncio.to_thread(load)


def load() -> LiteLLM:
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


def _tame(litellm: Any) -> LiteLLM:
    """Set LiteLLM's globals, for the whole process."""
    from litellm._internal_context import is_internal_call

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
    _close_other_ways()
    _leave_environment_out()
    _leave_callbacks_out()
    _leave_costs_out(litellm, is_internal_call)
    _rehearse(litellm, is_internal_call)
    return LiteLLM(litellm, is_internal_call)


def _close_other_ways() -> None:
    """Keep requests of ours from leaving through any client but our own."""
    import httpx
    from litellm.llms.custom_httpx.aiohttp_transport import LiteLLMAiohttpTransport

    from providers.litellm.transport import refuse_other_ways

    refuse_other_ways(
        (LiteLLMAiohttpTransport, "handle_async_request"),
        (httpx.AsyncHTTPTransport, "handle_async_request"),
        (httpx.HTTPTransport, "handle_request"),
    )


def _leave_environment_out() -> None:
    """Keep LiteLLM from reading keys, addresses and switches from the environment in our calls."""
    from litellm.secret_managers import main

    from providers.litellm.transport import without_environment

    get_secret = main.get_secret
    ours = without_environment(get_secret)
    for name, module in list(sys.modules.items()):
        if name.startswith("litellm") and vars(module).get("get_secret") is get_secret:
            setattr(module, "get_secret", ours)  # noqa: B010 - the module's type has no such name


def _leave_callbacks_out() -> None:
    """Keep our calls from the process's synchronous callbacks.

    They run in a thread, where LiteLLM also asks Ollama about its model.
    """
    from litellm.litellm_core_utils.litellm_logging import Logging

    from providers.litellm.transport import is_ours

    hand_on = Logging.handle_sync_success_callbacks_for_async_calls

    def hand_on_unless_ours(self: Any, *args: Any, **kwargs: Any) -> None:
        if not is_ours():
            hand_on(self, *args, **kwargs)

    Logging.handle_sync_success_callbacks_for_async_calls = hand_on_unless_ours


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


def _leave_costs_out(litellm: Any, is_internal_call: ContextVar[bool]) -> None:
    """Keep LiteLLM from pricing our answers: that takes 0.3 ms of CPU, and we have rate cards."""
    calculate = litellm.response_cost_calculator

    def calculate_unless_ours(*args: Any, **kwargs: Any) -> Any:
        return None if is_internal_call.get() else calculate(*args, **kwargs)

    litellm.response_cost_calculator = calculate_unless_ours
