"""Calls models on the direct route where it is equal to LiteLLM's, else by ``acompletion``."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence

from providers.base import Completion, CompletionRequest
from providers.direct.forms import Prepared
from providers.direct.learned import NotAsked, NotEqual, learn
from providers.direct.plain import plain
from providers.direct.routes import route_of
from providers.direct.shapes import Recent, SchemaNames
from providers.errors import ProviderError
from providers.http import HttpClient, HttpError
from providers.litellm.adapter import LiteLLMProvider
from providers.litellm.errors import unanswered, usual_error

_log = logging.getLogger("creditgate.providers")

_MOST_SHAPES = 1_024
_Shape = tuple[Hashable, ...]


class DirectProvider:
    """Calls models on the direct route, and by ``acompletion`` where there is none.

    A shape is all that the requests of one action have in common. The first request of a shape goes
    by ``acompletion``; before the second, the provider learns how LiteLLM asks. What is unusual in
    an answer, errors included, LiteLLM reads in the answer at hand: nothing is sent twice.

    Args:
        http: sends the requests; stays the caller's to close. Without one, it has its own.
    """

    def __init__(self, http: HttpClient | None = None) -> None:
        self._owns_http = http is None
        self._http = http or HttpClient()
        self._litellm = LiteLLMProvider(self._http)
        self._schemas = SchemaNames()
        self._seen: Recent[_Shape, bool] = Recent(_MOST_SHAPES)
        self._prepared: Recent[_Shape, Prepared | None] = Recent(_MOST_SHAPES)
        self._warned: set[str] = set()

    async def warm_up(self, requests: Sequence[CompletionRequest] = ()) -> None:
        """Prepare for requests like these, one for each model.

        LiteLLM is imported, in a thread, unless none of them needs it: it takes seconds. Without
        requests, it is imported.
        """
        to_learn = [request for request in requests if not self._is_plain(request)]
        if to_learn or not requests:
            await self._litellm.warm_up()
        for request in to_learn:
            await self.learn(request)

    async def complete(self, request: CompletionRequest) -> Completion:
        """Return the model's answer.

        Raises:
            ProviderError: there is no answer.
        """
        prepared = await self._find(request)
        body = None if prepared is None else prepared.body(request)
        if prepared is None or body is None:
            return await self._litellm.complete(request)
        endpoint = request.endpoint
        error: ProviderError
        try:
            answer = await self._http.send(
                "POST",
                prepared.url,
                prepared.headers,
                body,
                proxy=endpoint.proxy,
                ca_file=endpoint.ca_file,
            )
        except Exception as failure:  # noqa: BLE001 - whatever it is, the request may have arrived
            error = unanswered(failure if isinstance(failure, HttpError) else None)
        else:
            if completion := prepared.read(answer, request):
                return completion
            if (usual := usual_error(answer)) is None:
                return await self._litellm.read(request, answer)
            error = usual
        raise error

    async def learn(self, request: CompletionRequest) -> bool:
        """Learn how LiteLLM asks for requests like this one; return whether they go directly.

        It takes some 15 ms of CPU, and sends nothing.
        """
        shape = self._shape(request)
        # While this one learns, the others go by ``acompletion``.
        self._prepared.put(shape, None)
        is_direct, _ = route_of(request.litellm_model, request.route)
        if not is_direct:
            return False
        try:
            prepared = await learn(self._litellm, request)
        except NotEqual as error:
            self._warn(request.litellm_model, error)
            return False
        except (NotAsked, ProviderError):
            return False
        except Exception as error:  # noqa: BLE001 - LiteLLM is not what it was
            self._warn(request.litellm_model, f"{type(error).__name__} from LiteLLM's internals")
            return False
        except BaseException:
            self._prepared.drop(shape)
            raise
        self._prepared.put(shape, prepared)
        return True

    async def _find(self, request: CompletionRequest) -> Prepared | None:
        shape = self._shape(request)
        if shape not in self._prepared and not self._is_plain(request):
            if shape not in self._seen:
                self._seen.put(shape, True)
                return None
            await self.learn(request)
        return self._prepared.get(shape)

    def _is_plain(self, request: CompletionRequest) -> bool:
        """Return whether a request needs no LiteLLM, which is prepared then."""
        is_direct, _ = route_of(request.litellm_model, request.route)
        prepared = plain(request) if is_direct else None
        if prepared is not None:
            self._prepared.put(self._shape(request), prepared)
        return prepared is not None

    def _shape(self, request: CompletionRequest) -> _Shape:
        return (
            request.litellm_model,
            request.endpoint,
            request.route,
            # 0 is equal to 0.0, and is written in another way.
            repr(request.temperature),
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
        if self._owns_http:
            await self._http.aclose()
