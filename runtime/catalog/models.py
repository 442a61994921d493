"""The models that actions may name, with what is needed to call and to price them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from pricing.rate_card import ModelClass
from pricing.tokens import TokenCounter
from providers.base import Endpoint

if TYPE_CHECKING:
    from runtime.config import Config


@dataclass(frozen=True, slots=True)
class Model:
    """One model under our own id.

    ``json_schema`` tells whether it follows a response schema; without, the prompt carries an
    instruction. ``reasoning_allowance_tokens`` is what it may think before a shortest answer,
    ``context_tokens`` what prompt and answer may take together, ``None`` if nobody said.
    """

    id: str
    litellm_model: str
    model_class: ModelClass
    endpoint: Endpoint
    counter: TokenCounter
    json_schema: bool = True
    reasoning_allowance_tokens: int = 0
    context_tokens: int | None = None
    retires_on: date | None = None
    replaced_by: str | None = None


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
        """Load what counts tokens, so that the first execution does not wait for it."""
        for model in self:
            model.counter.warm_up()

    def usable(self, model_id: str, today: date, *, allow_replacement: bool) -> Model | None:
        """Return the model to call for ``model_id``, or ``None`` if it is retired or unknown.

        A retired model stands for the one that replaces it, where the action allows that.
        """
        seen: set[str] = set()
        model = self._models.get(model_id)
        while model is not None and model.retires_on is not None and model.retires_on <= today:
            seen.add(model.id)
            if not allow_replacement or model.replaced_by in seen:
                return None
            model = self._models.get(model.replaced_by or "")
        return model


def build_models(config: Config) -> Models:
    """Return the configured models; those that count in the same way share a counter."""
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
            reasoning_allowance_tokens=section.reasoning_allowance_tokens,
            context_tokens=section.context_tokens,
            retires_on=section.retires_on,
            replaced_by=section.replaced_by,
        )
    return Models(models)
