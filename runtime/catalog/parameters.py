"""Parameters of the configured actions that their models do not take, by LiteLLM's own table."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pricing.price_map import PriceMapMissing, load_price_map
from providers.litellm.adapter import refuses_temperature
from runtime.config.errors import Mistake
from runtime.config.succession import called_from

if TYPE_CHECKING:
    from runtime.config import Config


def refused_parameters(config: Config, file: str = "config") -> list[Mistake]:
    """Return a mistake for each action whose model takes no temperature, or not this one.

    LiteLLM is imported, which takes seconds, only where a model that reasons, or one that the price
    map does not have, is given a temperature: no other model refuses one.

    Args:
        file: the name of the config in the mistakes.
    """
    return list(_refused(config, file))


def _refused(config: Config, file: str) -> Iterator[Mistake]:
    for action_id, action in config.actions.items():
        temperature = action.temperature
        if temperature is None:
            continue
        for model_id in called_from(
            datetime.now(UTC).date(),
            config.models,
            action.model,
            allow_replacement=action.allow_replacement_model,
        ):
            name = config.models[model_id].litellm_model
            if _may_refuse(name) and refuses_temperature(name, temperature):
                yield Mistake(
                    file,
                    None,
                    None,
                    f"actions.{action_id}.temperature",
                    f"model {model_id!r} ({name}) does not take a temperature of "
                    f"{temperature:g}: leave it out",
                )


def _may_refuse(litellm_model: str) -> bool:
    try:
        listing = load_price_map().find(litellm_model)
    except PriceMapMissing:
        return True
    return listing is None or listing.reasons
