"""Calls models on the direct route where it is equal to LiteLLM's, else by ``acompletion``."""

from __future__ import annotations

import logging
from collections.abc import Hashable

from providers.base import Completion, CompletionRequest, ModelRoute
from providers.direct.learned import Learned, NotAsked, NotEqual, learn
from providers.direct.routes import route_of
from providers.direct.shapes import Recent, SchemaNames
from providers.errors import ProviderError
from providers.http import HttpClient, HttpError
from providers.litellm.adapter import LiteLLMProvider
from providers.litellm.errors import unanswered

_log = logging.getLogger("creditgate.providers")

_MOST_SHAPES = 1_024
_Shape = tuple[Hashable, ...]


class DirectProvider:
    """Calls models on the direct route, and by ``acompletion`` where there is none.

    The first request of a shape, which is all that the requests of one action have in common, goes
    by ``acompletion``; with the second, the provider learns how LiteLLM asks. Whatever is unusual
    in an answer, errors included, LiteLLM reads in the answer at hand: nothing is sent twice.

    Args:
        http: sends the requests; stays the caller's to close. Without one, it has its own.
    """

    def __init__(self, http: HttpClient | None = None) -> None:
        self._own_http = HttpClient() if http is None else None
        self._http = http or self._own_http or HttpClient()
        self._litellm = LiteLLMProvider(self._http)
        self._schemas = SchemaNames()
        self._seen: Recent[_Shape, bool] = Recent(_MOST_SHAPES)
        self._learned: Recent[_Shape, Learned | None] = Recent(_MOST_SHAPES)
        self._warned: set[str] = set()

    async def warm_up(self) -> None:
        """Import LiteLLM in a thread: it takes seconds."""
        await self._litellm.warm_up()

    async def complete(self, request: CompletionRequest) -> Completion:
        """Return the model's answer.

        Raises:
            ProviderError: there is no answer.
        """
        learned = await self._find(request)
        body = None if learned is None else _body(learned, request)
        if learned is None or body is None:
            return await self._litellm.complete(request)
        endpoint = request.endpoint
        error: ProviderError
        try:
            answer = await self._http.send(
                "POST",
                learned.url,
                learned.headers,
                body,
                proxy=endpoint.proxy,
                ca_file=endpoint.ca_file,
            )
        except Exception as failure:  # noqa: BLE001 - whatever it is, the request may have arrived
            error = unanswered(failure if isinstance(failure, HttpError) else None)
        else:
            return learned.read(answer, request) or await self._litellm.read(request, answer)
        raise error

    async def learn(self, request: CompletionRequest) -> bool:
        """Learn how LiteLLM asks for requests like this one; return whether they go directly.

        It takes some 15 ms of CPU, and sends nothing.
        """
        is_direct, _ = route_of(request.litellm_model, request.route)
        if not is_direct:
            return False
        shape = self._shape(request)
        # While this one learns, the others go by ``acompletion``.
        self._learned.put(shape, None)
        try:
            learned = await learn(self._litellm, request)
        except NotEqual as error:
            self._warn(request.litellm_model, error)
            return False
        except (NotAsked, ProviderError):
            return False
        except Exception as error:  # noqa: BLE001 - LiteLLM is not what it was
            self._warn(request.litellm_model, f"{type(error).__name__} from LiteLLM's internals")
            return False
        except BaseException:
            self._learned.drop(shape)
            raise
        self._learned.put(shape, learned)
        return True

    async def _find(self, request: CompletionRequest) -> Learned | None:
        if request.route is not ModelRoute.AUTO:
            return None
        shape = self._shape(request)
        if shape in self._learned:
            return self._learned.get(shape)
        if self._seen.get(shape) is None:
            self._seen.put(shape, True)
            return None
        return self._learned.get(shape) if await self.learn(request) else None

    def _shape(self, request: CompletionRequest) -> _Shape:
        return (
            request.litellm_model,
            request.endpoint,
            request.temperature,
            request.json_object,
            self._schemas.name(request.response_schema),
            *[message["role"] for message in request.messages],
        )

    def _warn(self, litellm_model: str, why: object) -> None:
        if litellm_model in self._warned or len(self._warned) >= _MOST_SHAPES:
            return
        self._warned.add(litellm_model)
        _log.warning(
            "%s is called by litellm.acompletion, which takes more CPU: %s", litellm_model, why
        )

    async def aclose(self) -> None:
        """Close the connections of this event loop, unless the client was handed in."""
        if self._own_http is not None:
            await self._own_http.aclose()


def _body(learned: Learned, request: CompletionRequest) -> bytes | None:
    """Return the body; ``None`` if LiteLLM has rules of its own for it."""
    if not all(message["content"].strip() for message in request.messages):
        return None
    try:
        return learned.body(request)
    except Exception:  # noqa: BLE001 - LiteLLM says what is wrong with the request
        return None
