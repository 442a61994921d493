"""Sentences about models: what is special about one, and how they are compared."""

from __future__ import annotations

from datetime import date
from typing import Literal, Protocol

from pricing.efficiency import COST_EFFICIENT_PERCENT


class ModelState(Protocol):
    """The part of a model that ``model_state_text`` tells; ``runtime.catalog.choice`` has it."""

    @property
    def id(self) -> str: ...

    @property
    def priced(self) -> bool: ...

    @property
    def json_schema(self) -> bool | Literal["json_object"]: ...

    @property
    def listed_json_schema(self) -> bool | None: ...

    @property
    def retires_on(self) -> date | None: ...

    @property
    def replaced_by(self) -> str | None: ...

    @property
    def given_up_on(self) -> date | None: ...

    @property
    def called(self) -> str | None: ...


def model_state_text(model: ModelState) -> str:
    """Return what is special about a model: no rate, no schema, or its retirement."""
    said = []
    if not model.priced:
        said.append("no rate in the current rate card: not called")
    if model.json_schema is True and model.listed_json_schema is False:
        said.append(
            "LiteLLM lists no support for JSON Schema: try json_schema: json_object or false"
        )
    if model.retires_on is not None and model.called == model.id:
        then = f", then replaced by {model.replaced_by}" if model.replaced_by else ""
        said.append(f"retires on {model.retires_on}{then}")
    elif model.called != model.id:
        then = f"{model.called} is called instead" if model.called else "not called"
        said.append(f"retired on {model.retires_on}: {then}")
    elif model.given_up_on is not None:
        said.append(f"its provider retires it on {model.given_up_on}, LiteLLM says: set retires_on")
    return "; ".join(said)


def model_choice_rule(action_id: str | None) -> str:
    """Return how models are compared, and which are cost-efficient."""
    run = f"an average run of {action_id}" if action_id else "1,000 input and 300 output tokens"
    return (
        f"A typical run is {run}. Cost-efficient: at most {COST_EFFICIENT_PERCENT / 100:g} times "
        "the cheapest of its class."
    )
