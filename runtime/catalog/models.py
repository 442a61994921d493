"""The models that actions may name, with everything needed to call and price them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Literal

from pricing.rate_card import ModelClass
from pricing.tokens import TokenCounter
from providers.base import CompletionRequest, Endpoint, ModelRoute
from runtime.config.succession import called_on

if TYPE_CHECKING:
    from runtime.config import Config


@dataclass(frozen=True, slots=True)
class Model:
    """One model under the id that the config gives it.

    Args:
        json_schema: true if the model follows a response schema; if not, the prompt carries an
            instruction. ``json_object`` if it can be held to JSON, with the schema in the prompt.
        route: the way on which it is called.
        reasoning_allowance_tokens: tokens it may spend on thinking before an answer.
        context_tokens: the most tokens of prompt and answer together; ``None`` if unknown.
        retires_on: the first day on which it is no longer called.
        replaced_by: the id of its successor.
    """

    id: str
    litellm_model: str
    model_class: ModelClass
    endpoint: Endpoint
    counter: TokenCounter
    json_schema: bool | Literal["json_object"] = True
    route: ModelRoute = ModelRoute.AUTO
    reasoning_allowance_tokens: int = 0
    context_tokens: int | None = None
    retires_on: date | None = None
    replaced_by: str | None = None

    def probe(self) -> CompletionRequest:
        """Return a request like those that actions make of the model; it is not sent."""
        return CompletionRequest(
            self.litellm_model,
            self.endpoint,
            [{"role": role, "content": role} for role in ("system", "user")],
            max_output_tokens=100,
            route=self.route,
        )


class Models:
    """The configured models."""

    def __init__(self, models: Mapping[str, Model]) -> None:
        self._models = dict(models)

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models.values())

    def get(self, model_id: str) -> Model | None:
        """Return the model of that id, ``None`` if there is none."""
        return self._models.get(model_id)

    def warm_up(self) -> None:
        """Load the tokenizers, so that the first execution does not wait for them."""
        for model in self:
            model.counter.warm_up()

    def usable(self, model_id: str, today: date, *, allow_replacement: bool) -> Model | None:
        """Return the model to call for ``model_id`` today, or ``None`` if there is none.

        ``runtime.config.succession`` has the rule.
        """
        model = self._models.get(model_id)
        if model is not None and model.retires_on is None:
            return model
        called = called_on(today, self._models, model_id, allow_replacement=allow_replacement)
        return None if called is None else self._models[called]


def build_models(config: Config) -> Models:
    """Return the configured models; those that count tokens in the same way share a counter."""
    counters: dict[tuple[str, int, int], TokenCounter] = {}
    models = {}
    for model_id, section in config.models.items():
        counted = section.counting()
        if counted not in counters:
            encoding, margin_percent, overhead = counted
            counters[counted] = TokenCounter(
                encoding, margin_percent, schema_overhead_tokens=overhead
            )
        models[model_id] = Model(
            id=model_id,
            litellm_model=section.litellm_model,
            model_class=section.model_class,
            endpoint=config.build_endpoint(section.endpoint),
            counter=counters[counted],
            json_schema=section.json_schema,
            route=section.route,
            reasoning_allowance_tokens=section.reasoning_allowance_tokens,
            context_tokens=section.context_tokens,
            retires_on=section.retires_on,
            replaced_by=section.replaced_by,
        )
    return Models(models)
