"""LiteLLM's translations of requests and answers, by themselves, and the internals that do them.

Only for the wire forms that are not OpenAI's own. The signatures are those of LiteLLM 1.106.2;
``providers.direct`` compares what comes of them with what ``acompletion`` makes, and goes without
them where it differs.
"""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from providers.base import Completion, CompletionRequest, Message
from providers.litellm import loading
from providers.litellm.adapter import completion_of, response_format
from providers.litellm.answers import prepared

if TYPE_CHECKING:
    from providers.http import HttpAnswer

_GEMINI = "gemini"


class Untranslatable(Exception):
    """A part of LiteLLM's translation is missing, or is not what it was."""


class _Config(Protocol):
    """LiteLLM's configuration of a provider's chat models (``BaseConfig``)."""

    def transform_request(
        self,
        model: str,
        messages: list[Message],
        optional_params: dict[str, Any],
        litellm_params: dict[str, Any],
        headers: dict[str, str],
    ) -> dict[str, Any]: ...

    def transform_response(  # noqa: PLR0913 - LiteLLM's signature
        self,
        *,
        model: str,
        raw_response: Any,
        model_response: Any,
        logging_obj: Any,
        request_data: dict[str, Any],
        messages: list[Message],
        optional_params: dict[str, Any],
        litellm_params: dict[str, Any],
        encoding: Any,
        api_key: str,
        json_mode: bool,
    ) -> Any: ...


@dataclass(slots=True)
class _Silent:
    """Takes the place of LiteLLM's logging."""

    model_call_details: dict[str, Any] = field(default_factory=dict)
    optional_params: dict[str, Any] = field(default_factory=dict)

    def post_call(self, *args: object, **kwargs: object) -> None:
        """Log nothing."""


@dataclass(frozen=True, slots=True)
class Translation:
    """The translation of requests that differ in nothing but their texts and their limit."""

    _litellm: Any
    _config: _Config
    _provider: str
    _model: str
    _parameters: dict[str, Any]
    _limit: str
    _json_mode: bool

    def body(self, messages: list[Message], max_output_tokens: int) -> dict[str, Any]:
        """Return the body of a request."""
        with _for_us():
            return self._body(messages, max_output_tokens)

    def _body(self, messages: list[Message], max_output_tokens: int) -> dict[str, Any]:
        parameters = copy.deepcopy(self._parameters)
        parameters[self._limit] = max_output_tokens
        own: list[Message] = [dict(message) for message in messages]
        if self._provider == _GEMINI:
            from litellm.llms.vertex_ai.gemini.transformation import transform_request_body

            return dict(
                transform_request_body(
                    messages=own,
                    model=self._model,
                    optional_params=parameters,
                    custom_llm_provider="gemini",
                    litellm_params={},
                    cached_content=None,
                )
            )
        return self._config.transform_request(self._model, own, parameters, {}, {})

    def read(self, answer: HttpAnswer, request: CompletionRequest) -> Completion:
        """Return what an answer with status 200 says.

        Raises:
            Exception: whatever LiteLLM raises for an answer that it can't read.
        """
        import httpx

        litellm = self._litellm
        with _for_us():
            response = self._config.transform_response(
                model=self._model,
                raw_response=httpx.Response(
                    answer.status,
                    headers=list(answer.headers),
                    content=prepared(answer.body),
                ),
                model_response=litellm.ModelResponse(),
                logging_obj=_Silent(),
                request_data={},
                messages=request.messages,
                optional_params=dict(self._parameters),
                litellm_params={},
                encoding=litellm.encoding,
                api_key="",
                json_mode=self._json_mode,
            )
        return completion_of(response, request.max_output_tokens)


def _for_us() -> AbstractContextManager[None]:
    """Keep the environment out of what LiteLLM does, and any request that it would make."""
    import httpx

    from providers.litellm.transport import Exchange, exchanging

    return exchanging(Exchange(httpx.URL(), begun=True))


def find(request: CompletionRequest) -> Translation:
    """Return LiteLLM's translation for requests like this one.

    Raises:
        Untranslatable: LiteLLM has none, or not in the form that is known here.
    """
    loaded = loading.loaded() or loading.load()
    litellm = loaded.module
    try:
        from litellm.utils import ProviderConfigManager

        with _for_us():
            model, provider, _, _ = litellm.get_llm_provider(request.litellm_model)
            config = ProviderConfigManager.get_provider_chat_config(
                model, litellm.LlmProviders(provider)
            )
            parameters = _parameters(litellm, model, provider, request)
    except Exception as error:  # noqa: BLE001 - whatever is not as it was
        raise Untranslatable(f"{type(error).__name__} from LiteLLM's parameters") from None
    limits = [
        name
        for name, value in parameters.items()
        if value == request.max_output_tokens and name.endswith(("tokens", "predict"))
    ]
    if config is None or len(limits) != 1:
        raise Untranslatable("LiteLLM has no configuration of the provider that can translate")
    json_mode = bool(parameters.pop("json_mode", False))
    return Translation(litellm, config, provider, model, parameters, limits[0], json_mode)


def _parameters(
    litellm: Any, model: str, provider: str, request: CompletionRequest
) -> dict[str, Any]:
    """Return the parameters of the provider's own that stand for those of a request."""
    asked: dict[str, Any] = {"max_tokens": request.max_output_tokens}
    if request.temperature is not None:
        asked["temperature"] = request.temperature
    if form := response_format(request):
        asked["response_format"] = form
    return dict(
        litellm.utils.get_optional_params(
            model=model, custom_llm_provider=provider, messages=request.messages, **asked
        )
    )
