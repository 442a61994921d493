"""The sections of a configuration about alerts: when they are raised, and where they are sent."""

from __future__ import annotations

import ipaddress
import re
from decimal import Decimal
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from pricing.offers import MAX_MC, MC_PER_CREDIT
from runtime.config.addresses import check_host
from runtime.config.fields import Flag, Secret, Text, describe
from runtime.config.section import Section
from runtime.ids import EMAIL_RULE, is_email

MOST_MARKS = 20
"""The most alert marks, those of caps included."""
LONGEST_URL = 2_000
_PERCENT = re.compile(r"([1-9][0-9]?|100) ?%")
_CREDITS = re.compile(r"([1-9][0-9]{0,15})(?: credits)?")


def low_mark(value: str) -> str:
    """Return the ledger's name of a mark: ``p20`` for ``20%``, ``a5000000`` for ``5000 credits``.

    Raises:
        ValueError: it is neither 1% to 99% nor a whole number of credits.
    """
    percent, credit = _PERCENT.fullmatch(value), _CREDITS.fullmatch(value.replace(",", ""))
    if percent and percent[1] != "100":
        return f"p{percent[1]}"
    if credit and (amount_mc := int(credit[1]) * MC_PER_CREDIT) <= MAX_MC:
        return f"a{amount_mc}"
    raise ValueError(f"must be 1% to 99%, or a number of credits, found {value!r}")


def cap_mark(value: str) -> str:
    """Return the ledger's name of a cap's mark: ``c80`` for ``80%``.

    Raises:
        ValueError: it is not 1% to 100%.
    """
    if percent := _PERCENT.fullmatch(value):
        return f"c{percent[1]}"
    raise ValueError(f"must be 1% to 100% of a cap's limit, found {value!r}")


def mark_text(mark: str) -> str:
    """Return a mark of the ledger as people write it."""
    if mark[0] == "a":
        return f"{int(mark[1:]) // MC_PER_CREDIT} credits"
    return f"{mark[1:]}%"


def check_webhook_url(value: str, *, plain_http: bool = False) -> str:
    """Return a webhook's address, checked. Its host's addresses are checked at each connection.

    Raises:
        ValueError: the address is wrong; the message does not show it.
    """
    if len(value) > LONGEST_URL or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError(f"must be an address of at most {LONGEST_URL:,} printable characters")
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise ValueError("is not a valid address (check its host and port)") from None
    if parts.scheme != "https" and not (plain_http and parts.scheme == "http"):
        raise ValueError("must begin with https://")
    if "@" in parts.netloc or parts.fragment:
        raise ValueError("must not hold a user name, a password or a fragment")
    if not parts.hostname or port == 0:
        raise ValueError("is not a complete address: its host is missing")
    check_host(parts.hostname)
    return value


def _to_low(value: Any) -> str:
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise ValueError(f"must be 1% to 99%, or a number of credits, found {describe(value)}")
    low_mark(value)
    return value


def _to_cap(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be 1% to 100% of a cap's limit, found {describe(value)}")
    cap_mark(value)
    return value


def _check_email(value: str) -> str:
    if is_email(value) is None:
        raise ValueError(f"must be {EMAIL_RULE}")
    return value


def _check_url(value: str) -> str:
    return check_webhook_url(value, plain_http=True)


def _check_network(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value))
    except ValueError:
        raise ValueError(f"must be a network like 10.0.0.0/8, found {value[:60]!r}") from None


Email = Annotated[Text, AfterValidator(_check_email)]
LowMark = Annotated[str, BeforeValidator(_to_low), WithJsonSchema({"type": "string"})]
CapMark = Annotated[str, BeforeValidator(_to_cap), WithJsonSchema({"type": "string"})]
Days = Annotated[int, Field(strict=True, ge=0, le=365)]


class OperatorSection(Section):
    """The operator's addresses, for alerts of accounts without contacts too."""

    emails: list[Email] = Field(default_factory=list, max_length=20)
    webhook: Annotated[Text, AfterValidator(_check_url)] | None = None
    webhook_secret: Secret | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.webhook is None) != (self.webhook_secret is None):
            raise ValueError("webhook and webhook_secret must be given together")
        return self


class WebhooksSection(Section):
    """Addresses that webhooks may have beyond public ones by HTTPS."""

    allowed_networks: list[Annotated[Text, AfterValidator(_check_network)]] = Field(
        default_factory=list, max_length=100
    )
    plain_http: Flag = False


class AlertsSection(Section):
    """Settings of alerts: their marks, the pause between two of one mark, and who is told."""

    low_percent: Annotated[int, Field(strict=True, ge=1, le=99)] = 20
    marks: list[LowMark] = Field(default_factory=list, max_length=MOST_MARKS // 2)
    cap_marks: list[CapMark] = Field(default=["80%", "100%"], max_length=MOST_MARKS // 2)
    cooldown_minutes: Annotated[int, Field(strict=True, ge=0, le=525_600)] = 60
    expiring_days: Days = 7
    forecast_days: Days = 7
    retiring_days: Days = 30
    buy_url: Annotated[Text, AfterValidator(_check_url)] | None = None
    operator: OperatorSection = OperatorSection()
    webhooks: WebhooksSection = WebhooksSection()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.marks and "low_percent" in self.model_fields_set:
            raise ValueError("leave low_percent out beside marks, or write it as one of them")
        return self

    def low_marks(self) -> tuple[str, ...]:
        """Return the marks of what is left, as the ledger has them."""
        marks = self.marks or [f"{self.low_percent}%"]
        return tuple(dict.fromkeys(map(low_mark, marks)))

    def marks_of_caps(self) -> tuple[str, ...]:
        """Return the marks of caps, as the ledger has them."""
        return tuple(dict.fromkeys(map(cap_mark, self.cap_marks)))


class EmailSection(Section):
    """The mail server that alerts are sent by."""

    host: Annotated[Text, Field(min_length=1, max_length=255)]
    port: Annotated[int, Field(strict=True, ge=1, le=65_535)] = 587
    tls: Literal["starttls", "tls", "none"] = "starttls"
    username: Annotated[Text, Field(min_length=1)] | None = None
    password: Secret | None = None
    sender: Email

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password must be given together")
        if self.username is not None and self.tls == "none":
            raise ValueError("a password must not be sent without TLS: set tls")
        return self
