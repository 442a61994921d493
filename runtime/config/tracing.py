"""The section of a configuration about traces."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from runtime.config.fields import Text, check_url, describe
from runtime.config.section import Section


def _check_collector(value: str) -> str:
    return check_url(value, ("http", "https"))


def _to_ratio(value: Any) -> Decimal:
    is_number = isinstance(value, int | Decimal) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= 1:
        raise ValueError(f"must be a number from 0 to 1, found {describe(value)}")
    return Decimal(value)


Ratio = Annotated[
    Decimal,
    BeforeValidator(_to_ratio),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1}),
]


class TracingSection(Section):
    """OpenTelemetry traces: where they are sent, and how many."""

    otlp_endpoint: Annotated[Text, AfterValidator(_check_collector)] | None = None
    sample_ratio: Ratio = Decimal(1)
