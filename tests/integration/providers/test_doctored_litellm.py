"""LiteLLM changes: where its internals are not as they were, models are called by ``acompletion``.

Each test changes what ``providers/litellm/translation.py`` finds in LiteLLM, or what
``acompletion`` does. Calls must be answered all the same, with one warning.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from providers.direct.provider import DirectProvider
from providers.litellm import translation
from providers.litellm.adapter import LiteLLMProvider
from tests.harness.litellm_module import litellm_module
from tests.harness.routes.asking import FORMS, good_answer, request
from tests.harness.routes.comparing import CannedHttp, Sent, http_answer, outcome_of

ADDRESS = "http://127.0.0.1:9/v1"
ANTHROPIC, GEMINI, OPENAI = "anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-flash", "openai/m"
CALLS = 3

Doctor = Callable[[pytest.MonkeyPatch], None]


def seen_by_translations(doctor: Doctor) -> Doctor:
    """Change LiteLLM while it is asked to translate, and only then: not within ``acompletion``."""

    def operate(patch: pytest.MonkeyPatch) -> None:
        for owner, name in (
            (translation, "find"),
            (translation.Translation, "body"),
            (translation.Translation, "read"),
        ):
            patch.setattr(owner, name, operated(getattr(owner, name)))

    def operated(works: Callable[..., Any]) -> Callable[..., Any]:
        def while_changed(*args: Any, **kwargs: Any) -> Any:
            with pytest.MonkeyPatch.context() as patch:
                doctor(patch)
                return works(*args, **kwargs)

        return while_changed

    return operate


def missing(place: str, name: str) -> Doctor:
    return seen_by_translations(lambda patch: patch.delattr(f"{place}.{name}"))


def replaced(place: str, name: str, new: Any) -> Doctor:
    return seen_by_translations(lambda patch: patch.setattr(f"{place}.{name}", new))


class AnotherConfig:
    """LiteLLM's configuration of a provider, with other methods in the place of some."""

    def __init__(self, config: Any, **methods: Any) -> None:
        self._config = config
        self._methods = methods

    def __getattr__(self, name: str) -> Any:
        if name not in self._methods:
            return getattr(self._config, name)
        if self._methods[name] is None:
            raise AttributeError(name)
        return lambda *args, **kwargs: self._methods[name](self._config, *args, **kwargs)


def configured(**methods: Any) -> Doctor:
    """Change methods of the providers' configurations."""

    def operate(patch: pytest.MonkeyPatch) -> None:
        find = litellm_module().utils.ProviderConfigManager.get_provider_chat_config
        patch.setattr(
            "litellm.utils.ProviderConfigManager.get_provider_chat_config",
            lambda *args, **kwargs: AnotherConfig(find(*args, **kwargs), **methods),
        )

    return seen_by_translations(operate)


def other_signature(config: Any, *, request: Any) -> Any:
    raise AssertionError("it is never called with the right arguments")


def other_body(config: Any, *args: Any, **kwargs: Any) -> Any:
    return config.transform_request(*args, **kwargs) | {"top_k": 1}


def body_of_texts(config: Any, *args: Any, **kwargs: Any) -> Any:
    return str(config.transform_request(*args, **kwargs))


def other_text(config: Any, *args: Any, **kwargs: Any) -> Any:
    response = config.transform_response(*args, **kwargs)
    response.choices[0].message.content += " "
    return response


def fewer_tokens(config: Any, *args: Any, **kwargs: Any) -> Any:
    response = config.transform_response(*args, **kwargs)
    response.usage.prompt_tokens -= 1
    return response


def no_response(config: Any, *args: Any, **kwargs: Any) -> Any:
    return None


def fails(*args: Any, **kwargs: Any) -> Any:
    raise RuntimeError("the words of an error that LiteLLM never had")


def acompletion_with(**arguments: Callable[[], Any]) -> Doctor:
    def operate(patch: pytest.MonkeyPatch) -> None:
        acompletion = litellm_module().acompletion

        async def another(*args: Any, **kwargs: Any) -> Any:
            return await acompletion(
                *args, **kwargs, **{name: make() for name, make in arguments.items()}
            )

        patch.setattr("litellm.acompletion", another)

    return operate


def acompletion_that_shouts(patch: pytest.MonkeyPatch) -> None:
    acompletion = litellm_module().acompletion

    async def another(*args: Any, **kwargs: Any) -> Any:
        response = await acompletion(*args, **kwargs)
        response.choices[0].message.content = str(response.choices[0].message.content).upper()
        return response

    patch.setattr("litellm.acompletion", another)


_BODY = "litellm.llms.vertex_ai.gemini.transformation"
_numbers = itertools.count()

DOCTORED: dict[str, tuple[str, Doctor]] = {
    "the manager is missing": (ANTHROPIC, missing("litellm.utils", "ProviderConfigManager")),
    "providers are missing": (ANTHROPIC, missing("litellm", "LlmProviders")),
    "the lookup is none": (ANTHROPIC, replaced("litellm", "get_llm_provider", None)),
    "the lookup answers otherwise": (
        ANTHROPIC,
        replaced("litellm", "get_llm_provider", lambda model: (model, "anthropic")),
    ),
    "the lookup fails": (ANTHROPIC, replaced("litellm", "get_llm_provider", fails)),
    "parameters have another signature": (
        ANTHROPIC,
        replaced("litellm.utils", "get_optional_params", lambda *, request: request),
    ),
    "parameters are other ones": (
        ANTHROPIC,
        replaced("litellm.utils", "get_optional_params", lambda **arguments: {}),
    ),
    "parameters are none": (
        ANTHROPIC,
        replaced("litellm.utils", "get_optional_params", lambda **arguments: None),
    ),
    "the response is none": (ANTHROPIC, replaced("litellm", "ModelResponse", None)),
    "requests are not translated": (ANTHROPIC, configured(transform_request=None)),
    "requests have another signature": (ANTHROPIC, configured(transform_request=other_signature)),
    "requests are other ones": (ANTHROPIC, configured(transform_request=other_body)),
    "requests are texts": (ANTHROPIC, configured(transform_request=body_of_texts)),
    "requests fail": (ANTHROPIC, configured(transform_request=fails)),
    "answers are not translated": (ANTHROPIC, configured(transform_response=None)),
    "answers have another signature": (ANTHROPIC, configured(transform_response=other_signature)),
    "answers have another text": (ANTHROPIC, configured(transform_response=other_text)),
    "answers have fewer tokens": (ANTHROPIC, configured(transform_response=fewer_tokens)),
    "answers are none": (ANTHROPIC, configured(transform_response=no_response)),
    "answers fail": (ANTHROPIC, configured(transform_response=fails)),
    "Gemini's body is missing": (GEMINI, missing(_BODY, "transform_request_body")),
    "Gemini's body has another signature": (
        GEMINI,
        replaced(_BODY, "transform_request_body", lambda *, request: {}),
    ),
    "Gemini's body is another": (
        GEMINI,
        replaced(_BODY, "transform_request_body", lambda **arguments: {"contents": []}),
    ),
    "Gemini's body is none": (
        GEMINI,
        replaced(_BODY, "transform_request_body", lambda **arguments: None),
    ),
    "Gemini's body fails": (GEMINI, replaced(_BODY, "transform_request_body", fails)),
    "each request has a number": (
        "deepinfra/m",
        acompletion_with(extra_body=lambda: {"x": next(_numbers)}),
    ),
    "each request has a header": (
        "mistral/m",
        acompletion_with(extra_headers=lambda: {"anthropic-beta": f"{next(_numbers)}"}),
    ),
    "answers are read otherwise": (OPENAI, acompletion_that_shouts),
}


@pytest.fixture(autouse=True)
async def litellm() -> None:
    await LiteLLMProvider().warm_up()


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "creditgate.providers" and record.levelno == logging.WARNING
    ]


async def outcomes(provider: Any, http: CannedHttp, model: str) -> tuple[list[Any], list[Sent]]:
    """Return what came of some calls in the same form, with other words each, and what was sent."""
    http.answer = http_answer(good_answer(model))
    asked = request(model, ADDRESS, FORMS[6])
    found = [
        await outcome_of(
            provider, replace(asked, messages=[{"role": "user", "content": f"Number {number}"}])
        )
        for number in range(CALLS)
    ]
    return found, http.sent


@pytest.mark.parametrize("model, doctor", DOCTORED.values(), ids=DOCTORED)
async def test_where_litellm_is_not_as_it_was_calls_go_by_acompletion_with_one_warning(
    model: str,
    doctor: Doctor,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    doctor(monkeypatch)
    direct, plain = CannedHttp(), CannedHttp()

    found, sent = await outcomes(DirectProvider(direct), direct, model)
    expected, expected_sent = await outcomes(LiteLLMProvider(plain), plain, model)

    assert found == expected
    assert all(hasattr(one, "text") for one in found)
    assert len(sent) == CALLS
    if model == ANTHROPIC:
        assert sent == expected_sent
    [warning] = warnings_of(caplog)
    assert warning.startswith(f"{model} is called by litellm.acompletion")
    assert "never had" not in warning


@pytest.mark.parametrize("model", [ANTHROPIC, GEMINI, OPENAI, "mistral/m"])
async def test_as_litellm_is_there_is_no_warning(
    model: str, caplog: pytest.LogCaptureFixture
) -> None:
    http = CannedHttp()
    provider = DirectProvider(http)

    await outcomes(provider, http, model)

    assert warnings_of(caplog) == []
    assert await provider.learn(request(model, ADDRESS, FORMS[6]))


@pytest.mark.parametrize("method", ["transform_request", "transform_response"])
async def test_what_breaks_after_it_was_learned_changes_no_outcome(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    http = CannedHttp()
    provider = DirectProvider(http)
    before, _ = await outcomes(provider, http, ANTHROPIC)
    config = type(
        litellm_module().utils.ProviderConfigManager.get_provider_chat_config(
            ANTHROPIC.partition("/")[2], litellm_module().LlmProviders.ANTHROPIC
        )
    )
    works = getattr(config, method)
    calls = itertools.count()

    def breaks_first(*args: Any, **kwargs: Any) -> Any:
        return fails() if next(calls) % 2 == 0 else works(*args, **kwargs)

    seen_by_translations(lambda patch: patch.setattr(config, method, breaks_first))(monkeypatch)

    after, sent = await outcomes(provider, http, ANTHROPIC)

    assert after == before
    assert len(sent) == 2 * CALLS
    assert next(calls) == CALLS
