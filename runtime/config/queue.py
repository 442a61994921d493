"""The section of a configuration about the request queue: how long it keeps what, and for whom."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from runtime.config.alerts import check_webhook_url
from runtime.config.fields import Secret, Text
from runtime.config.section import Section

Days = Annotated[int, Field(strict=True, ge=1, le=90)]


def _check_url(value: str) -> str:
    return check_webhook_url(value, plain_http=True)


class QueueSection(Section):
    """The request queue: bounds, retention of what is personal data, and results by webhook."""

    most_waiting: Annotated[int, Field(strict=True, ge=1, le=100_000_000)] = 20_000_000
    missed_days: Days = 7
    dead_days: Days = 7
    results_hours: Annotated[int, Field(strict=True, ge=1, le=720)] = 24
    most_results: Annotated[int, Field(strict=True, ge=1_000, le=10_000_000)] = 100_000
    webhook: Annotated[Text, AfterValidator(_check_url)] | None = None
    webhook_secret: Secret | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.webhook is None) != (self.webhook_secret is None):
            raise ValueError("webhook and webhook_secret must be given together")
        return self
