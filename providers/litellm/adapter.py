"""Calls models through LiteLLM, over our own HTTP client."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from providers.base import Completion, CompletionRequest, FinishReason
from providers.errors import FailureKind, NotSent, ProviderError
from providers.litellm import errors as litellm_errors
from providers.litellm import loading
from providers.litellm.message_text import text_of
from providers.litellm.routes import ROUTES, Client, provider_of
from providers.litellm.usage import read_usage

if TYPE_CHECKING:
    from providers.http import HttpAnswer, HttpClient
    from providers.litellm.clients import Clients
    from providers.litellm.transport import Exchange, SentRequest

NO_KEY = "none"
"""Sent where an endpoint has no key: without one LiteLLM would take the environment's."""

_OPENAI = "openai/"
_ANTHROPIC = "anthropic/"

_TIMEOUT_S = 3_600
"""LiteLLM's own limit, longer than any call: the caller bounds the call as a whole."""


class LiteLLMProvider:
    """Calls the providers of ``ROUTES``. Each call is one HTTP request, without retries.

    Args:
        http: sends the requests; stays the caller's to close. Without one, it has its own.
    """

    def __init__(self, http: HttpClient | None = None) -> None:
        self._http = http
        self._own_http: HttpClient | None = None
        self._clients: Clients | None = None

    async def warm_up(self) -> None:
        """Import LiteLLM in a thread: it takes seconds."""
        await loading.load_in_thread()

    async def complete(self, request: CompletionRequest) -> Completion:
        """Return the model's answer.

        Raises:
            ProviderError: there is no answer; ``errors.translate`` says which error it is.
        """
        return await self._call(request, *await self._prepared(request))

    async def read(self, request: CompletionRequest, answer: HttpAnswer) -> Completion:
        """Return what LiteLLM reads in an answer that is there; nothing is sent.

        Raises:
            ProviderError: as ``complete`` would, had this been the provider's answer.
        """
        exchange, arguments = await self._prepared(request)
        exchange.given = answer
        return await self._call(request, exchange, arguments)

    async def asked(self, request: CompletionRequest) -> SentRequest | None:
        """Return the request that LiteLLM would send, if it would; nothing is sent.

        Raises:
            NotSent: the provider can't be called over our own client, or has no address.
        """
        from providers.http import HttpAnswer

        exchange, arguments = await self._prepared(request)
        exchange.given = HttpAnswer(400, (), b"{}")
        with suppress(ProviderError):
            await self._call(request, exchange, arguments)
        return exchange.request

    async def _call(
        self, request: CompletionRequest, exchange: Exchange, arguments: dict[str, Any]
    ) -> Completion:
        litellm = loading.loaded() or await loading.load_in_thread()
        from providers.litellm.transport import exchanging

        # In LiteLLM 1.106.2 this leaves out its handlers of failures and the queue of its
        # asynchronous handler of success, and nothing else. They take 0.4 ms of CPU, keep a task
        # running, and hand prompts and answers to whatever callbacks the process has set.
        context = litellm.is_internal_call.set(True)
        try:
            with exchanging(exchange):
                response = await litellm.module.acompletion(**arguments)
            litellm_errors.check_status(exchange)
            return completion_of(response, request.max_output_tokens)
        except ProviderError:
            raise
        except Exception as exc:  # noqa: BLE001 - one table decides what it means
            error = litellm_errors.translate(litellm.module, exc, exchange)
        finally:
            litellm.is_internal_call.reset(context)
        # Not within the handler: LiteLLM's exceptions may quote the key, the prompt or the
        # answer, and must not come along as the context of ours.
        raise error

    async def _prepared(self, request: CompletionRequest) -> tuple[Exchange, dict[str, Any]]:
        """Return the exchange of a call, and LiteLLM's arguments.

        Raises:
            NotSent: the provider can't be called over our own client, or has no address.
        """
        if loading.loaded() is None:
            await loading.load_in_thread()
        import httpx

        from providers.litellm.transport import Exchange

        model, endpoint = request.litellm_model, request.endpoint
        provider = provider_of(model)
        route = ROUTES.get(provider)
        if route is None:
            raise NotSent(FailureKind.REJECTED, f"the provider {provider} cannot be called")
        address = _address(model, endpoint.api_base or route.address)
        if address is None:
            raise NotSent(FailureKind.REJECTED, f"{provider} needs an endpoint with api_base")
        kind = route.client
        if kind is Client.SDK and _is_bridged(model):
            kind = Client.HANDLER
        key = endpoint.api_key or NO_KEY
        arguments = _arguments(request, with_sdk=kind is Client.SDK and model.startswith(_OPENAI))
        arguments["api_base"] = address
        arguments["api_key"] = key
        arguments["client"] = self._get_clients().get(kind, address, key)
        return Exchange(httpx.URL(address), endpoint.proxy, endpoint.ca_file), arguments

    def _get_clients(self) -> Clients:
        if self._clients is None:
            from providers.http import HttpClient
            from providers.litellm.clients import Clients

            if self._http is None:
                self._http = self._own_http = HttpClient()
            self._clients = Clients(self._http)
        return self._clients

    async def aclose(self) -> None:
        """Close the connections of this event loop, unless the client was handed in."""
        if self._own_http is not None:
            await self._own_http.aclose()


def _arguments(request: CompletionRequest, *, with_sdk: bool) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "model": request.litellm_model,
        "messages": request.messages,
        "max_tokens": request.max_output_tokens,
        "num_retries": 0,
        "max_retries": 0,
        "timeout": _TIMEOUT_S,
        # The process may have a cache set up: it would keep prompts and answers, and answer
        # in the provider's place.
        "cache": {"no-cache": True, "no-store": True},
    }
    if request.temperature is not None:
        arguments["temperature"] = request.temperature
    if form := response_format(request):
        if with_sdk:
            # The same goes over the wire, but the SDK does not look at each part of the schema,
            # which takes 0.7 ms of CPU for 77 options.
            arguments["extra_body"] = {"response_format": form}
        else:
            arguments["response_format"] = form
    return arguments


def response_format(request: CompletionRequest) -> dict[str, Any] | None:
    """Return the form that an answer must have, as OpenAI names it; ``None`` for any."""
    if request.response_schema is not None:
        described = {"name": "answer", "strict": True, "schema": request.response_schema}
        return {"type": "json_schema", "json_schema": described}
    return {"type": "json_object"} if request.json_object else None


def refuses_temperature(litellm_model: str, temperature: float) -> bool:
    """Return whether LiteLLM would refuse to send this temperature to the model.

    The first call imports LiteLLM, which takes seconds.
    """
    litellm = loading.load().module
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
    if api_base is not None and model.startswith(_ANTHROPIC):
        return api_base.rstrip("/").removesuffix("/v1")
    return api_base


@cache
def _is_bridged(model: str) -> bool:
    """Return whether LiteLLM asks OpenAI's responses API, for which it takes its own handler."""
    if not model.startswith(_OPENAI):
        return False
    bridged, _ = loading.load().module.main.responses_api_bridge_check(
        model=model.removeprefix(_OPENAI), custom_llm_provider="openai"
    )
    return bool(bridged.get("mode") == "responses")


def completion_of(response: Any, max_output_tokens: int) -> Completion:
    """Return the completion that LiteLLM's response holds.

    Raises:
        ProviderError: the provider broke off.
    """
    choice = response.choices[0]
    if _broke_off(choice):
        raise litellm_errors.broken_off()
    message = choice.message
    text, after_thoughts = text_of(message, finished=choice.finish_reason != "length")
    usage, reasoning_beside = read_usage(getattr(response, "usage", None), answered=bool(text))
    finish = FinishReason.STOP
    if choice.finish_reason == "length":
        finish = FinishReason.LENGTH
    elif choice.finish_reason == "content_filter" or _refusal(message):
        finish = FinishReason.REFUSED
    elif usage is not None and usage.output_tokens >= max_output_tokens:
        # LiteLLM says "stop" of Anthropic's forced tool calls, also of those that were cut off.
        finish = FinishReason.LENGTH
    return Completion(
        text,
        finish,
        usage,
        after_thoughts=after_thoughts,
        reasoning_beside=reasoning_beside,
    )


def _broke_off(choice: Any) -> bool:
    """Return whether the provider broke off with an error, which LiteLLM calls a normal stop."""
    kept = getattr(choice, "provider_specific_fields", None) or {}
    return "error" in (choice.finish_reason, kept.get("native_finish_reason"))


def _refusal(message: Any) -> Any:
    """Return OpenAI's ``refusal``, which LiteLLM keeps among the provider-specific fields."""
    return (getattr(message, "provider_specific_fields", None) or {}).get("refusal")
