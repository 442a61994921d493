"""The section of a configuration about the payment provider."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from runtime.config.fields import ApiBase, Secret, Text, check_url
from runtime.config.section import Section

_KEY = re.compile(r"(sk|rk)_(test|live)_\S+")


def _check_key(value: SecretStr) -> SecretStr:
    if not _KEY.fullmatch(value.get_secret_value()):
        raise ValueError("must be a secret or restricted key: sk_test_..., sk_live_..., rk_...")
    return value


def _check_webhook_secret(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().startswith("whsec_"):
        raise ValueError("must be the signing secret of a webhook endpoint: whsec_...")
    return value


def _check_page(value: str) -> str:
    return check_url(value, ("http", "https"))


Page = Annotated[Text, Field(max_length=2_000), AfterValidator(_check_page)]


class StripeSection(Section):
    """Payments through Stripe: keys, and the pages that people come back to."""

    secret_key: Annotated[Secret, AfterValidator(_check_key)]
    webhook_secret: Annotated[Secret, AfterValidator(_check_webhook_secret)]
    success_url: Page
    cancel_url: Page
    api_base: ApiBase = "https://api.stripe.com"

    @property
    def is_live(self) -> bool:
        """True if the key moves real money."""
        return "_live_" in self.secret_key.get_secret_value()
