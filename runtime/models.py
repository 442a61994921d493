"""The models that actions may name, with what is needed to call and to price them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from pricing.rate_card import ModelClass
from pricing.tokens import TokenCounter
from providers.base import Endpoint


@dataclass(frozen=True, slots=True)
class Model:
    """One model under our own id.

    ``json_schema`` tells whether it follows a response schema; without, the prompt carries an
    instruction. ``reasoning_allowance_tokens`` is what it may think before a shortest answer.
    """

    id: str
    litellm_model: str
    model_class: ModelClass
    endpoint: Endpoint
    counter: TokenCounter
    json_schema: bool = True
    reasoning_allowance_tokens: int = 0
    retires_on: date | None = None
    replaced_by: str | None = None


class Models:
    """The configured models."""

    def __init__(self, models: Mapping[str, Model]) -> None:
        self._models = dict(models)

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
