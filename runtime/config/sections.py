"""The sections of a configuration, by owner: infrastructure, commerce, actions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    SecretStr,
    model_validator,
)

from pricing.offers import MC_PER_CREDIT, GrantKind, Offer, Pack
from pricing.rate_card import ModelClass, RateCard, RateCards, Rates, Tier
from pricing.tokens import (
    CLAUDE_SCHEMA_OVERHEAD_TOKENS,
    ENCODINGS,
    EXACT_MARGIN_PERCENT,
    OTHER,
    OTHER_MARGIN_PERCENT,
    encoding_of,
)
from providers.base import Endpoint, ModelRoute
from providers.pacing.breaker import BreakerSettings
from providers.pacing.queue import EndpointLimit
from providers.pacing.rule import SharedLimit
from runtime.actions.spec import ActionSpec
from runtime.config.alerts import AlertsSection, EmailSection
from runtime.config.errors import Mistake
from runtime.config.fields import (
    KEY_PREFIX_PATTERN,
    ApiBase,
    CaFile,
    Cents,
    Date,
    Flag,
    Folder,
    GrantedMc,
    Hours,
    Id,
    Instant,
    JsonSchemaMode,
    Percent,
    Positive,
    Proxy,
    RateMc,
    Secret,
    Text,
    Whole,
    check_url,
)
from runtime.config.payments import StripeSection
from runtime.config.queue import QueueSection
from runtime.config.section import Section
from runtime.config.service import ServiceSection
from runtime.config.spending import DefaultCapsSection, LaunchCheckSection
from runtime.config.tracing import TracingSection
from runtime.config.worker import WorkerSection

_SENTINEL_PORT = 26_379


def _check_redis_url(value: str) -> str:
    return value if value == "embedded" else check_url(value, ("redis", "rediss", "unix"))


def _check_sentinel_node(value: str) -> str:
    parts = urlsplit(check_url(f"redis://{value}", ("redis",)))
    if parts.path or parts.query or parts.fragment:
        raise ValueError(f"must be HOST:PORT, found {value[:80]!r}")
    return value if parts.port else f"{value}:{_SENTINEL_PORT}"


SentinelNode = Annotated[Text, AfterValidator(_check_sentinel_node)]


def _check_archive_url(value: str) -> str:
    if value == "sqlite" or re.fullmatch(r"sqlite:///[^?#]+", value):
        return value
    if value.startswith("sqlite:"):
        raise ValueError("must be sqlite, or sqlite:///PATH")
    return check_url(value, ("postgresql", "sqlite"))


def _check_litellm_model(value: str) -> str:
    if not re.fullmatch(r"[^\s/]+/\S+", value):
        raise ValueError(f"must be PROVIDER/NAME, such as openai/gpt-4o-mini, found {value!r}")
    return value


def _check_installation_key(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value()) < 16:
        raise ValueError("must have at least 16 characters")
    return value


def _check_encoding(value: str) -> str:
    allowed = (*sorted(ENCODINGS), OTHER)
    if value not in allowed:
        raise ValueError(f"must be one of {', '.join(allowed)}, found {value!r}")
    return value


Assumable = Literal["version", "maxmemory_policy", "memory", "append_only", "replicas"]


class SentinelSection(Section):
    """The sentinels that say which server is the primary; ``tls`` is for them and the servers."""

    master: Annotated[Text, Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")]
    nodes: Annotated[list[SentinelNode], Field(min_length=1, max_length=100)]
    tls: Flag = False
    ca_file: CaFile | None = None
    username: Annotated[Text, Field(min_length=1)] | None = None
    password: Secret | None = None


class RedisSection(Section):
    """The server, the cluster, or the servers behind sentinels, that hold the ledger."""

    url: Annotated[Text, AfterValidator(_check_redis_url)] = "embedded"
    cluster: Flag = False
    sentinel: SentinelSection | None = None
    key_prefix: Annotated[Text, Field(pattern=KEY_PREFIX_PATTERN)] = "cg1"
    timeout_ms: Annotated[int, Field(strict=True, ge=10, le=60_000)] = 1_000
    max_connections: Annotated[int, Field(strict=True, ge=1, le=10_000)] = 8
    durability: Literal["relaxed", "fsync", "replicated"] = "relaxed"
    wait_replicas: Annotated[int, Field(strict=True, ge=1, le=10)] = 1
    assume: list[Assumable] = Field(default_factory=list)
    username: Annotated[Text, Field(min_length=1)] | None = None
    password: Secret | None = None

    @property
    def is_embedded(self) -> bool:
        """True if creditgate starts the server itself."""
        return self.url == "embedded" and self.sentinel is None


class ArchiveSection(Section):
    """The SQL database that keeps the journal for good."""

    url: Annotated[Text, AfterValidator(_check_archive_url)] = "sqlite"
    username: Annotated[Text, Field(min_length=1)] | None = None
    password: Secret | None = None
    max_lag: Positive | None = None


class ExecutionsSection(Section):
    """Settings of executions: reservations, stored outcomes and the spool."""

    outcome_ttl_hours: Hours = 168
    reservation_ttl_ms: Positive = 120_000
    wait_for_credits_ms: Whole = 15_000
    charge_previews: Flag = True
    max_charge_mc: GrantedMc | None = Field(default=None, alias="max_credits")
    spool_max_age_hours: Hours = 24


class BreakerSection(Section):
    """The circuit breaker: the failures that open it, and the time that it stays open."""

    failures: Annotated[int, Field(strict=True, ge=1, le=10_000)] = 10
    open_ms: Annotated[int, Field(strict=True, ge=1, le=3_600_000)] = 2_000
    max_open_ms: Annotated[int, Field(strict=True, ge=1, le=3_600_000)] = 60_000
    patience_ms: Annotated[int, Field(strict=True, ge=1, le=3_600_000)] = 5_000

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.max_open_ms < self.open_ms:
            raise ValueError(
                f"max_open_ms, {self.max_open_ms:,}, must not be below open_ms, {self.open_ms:,}"
            )
        return self

    def build(self) -> BreakerSettings:
        """Return the breaker's settings."""
        return BreakerSettings(self.failures, self.open_ms, self.max_open_ms, self.patience_ms)


class EndpointSection(Section):
    """A provider's address, key and limits; without ``api_base``, its usual address."""

    api_base: ApiBase | None = None
    api_key: Secret | None = None
    proxy: Proxy | None = None
    ca_file: CaFile | None = None
    max_concurrency: Annotated[int, Field(strict=True, ge=1, le=100_000)] = 64
    shared_concurrency: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] | None = None
    requests_per_minute: Annotated[int, Field(strict=True, ge=1, le=100_000_000)] | None = None
    tokens_per_minute: Annotated[int, Field(strict=True, ge=1, le=100_000_000)] | None = None
    breaker: BreakerSection = BreakerSection()

    def build_limit(self) -> EndpointLimit:
        """Return the endpoint's limits, for this process and for all processes together."""
        shared = SharedLimit(
            self.shared_concurrency, self.requests_per_minute, self.tokens_per_minute
        )
        is_shared = shared != SharedLimit()
        return EndpointLimit(self.max_concurrency, shared if is_shared else None)


class PlanSection(Section):
    """A plan that accounts are on."""

    ai_credits: Flag


class PackSection(Section):
    """The unit that credits are sold in."""

    amount_mc: GrantedMc = Field(default=100_000 * MC_PER_CREDIT, alias="credits")
    price_cents: Cents = Field(default=1_000, alias="price_usd")


class OfferSection(Section):
    """A rule by which accounts on a paid plan get a grant. Dates are local to the account."""

    kind: Literal["introductory", "promotional", "plan"]
    amount_mc: GrantedMc = Field(alias="credits")
    paying_from: Date | None = None
    paying_until: Date | None = None
    expires_after_days: Annotated[int, Field(strict=True, ge=0, le=36_500)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.build("offer")
        return self

    def build(self, offer_id: str) -> Offer:
        """Return the offer."""
        return Offer(
            id=offer_id,
            kind=GrantKind(self.kind),
            amount_mc=self.amount_mc,
            paying_from=self.paying_from,
            paying_until=self.paying_until,
            expires_after_days=self.expires_after_days,
        )


class ModelSection(Section):
    """A model that actions name by our own id.

    Fields about counting tokens have defaults that depend on the model's name.
    """

    litellm_model: Annotated[Text, AfterValidator(_check_litellm_model)]
    endpoint: Text
    model_class: ModelClass = Field(alias="class")
    encoding: Annotated[Text, AfterValidator(_check_encoding)] | None = None
    token_margin_percent: Percent | None = None
    schema_overhead_tokens: Whole | None = None
    json_schema: JsonSchemaMode = True
    route: ModelRoute = ModelRoute.AUTO
    reasoning_allowance_tokens: Whole = 0
    context_tokens: Positive | None = None
    retires_on: Date | None = None
    replaced_by: Text | None = None

    def counting(self) -> tuple[str, int, int]:
        """Return the encoding, the margin in percent, and a schema's overhead in tokens."""
        encoding = self.encoding or encoding_of(self.litellm_model)
        margin, overhead = self.token_margin_percent, self.schema_overhead_tokens
        if margin is None:
            margin = OTHER_MARGIN_PERCENT if encoding == OTHER else EXACT_MARGIN_PERCENT
        if overhead is None:
            is_claude = "claude" in self.litellm_model.lower()
            overhead = CLAUDE_SCHEMA_OVERHEAD_TOKENS if is_claude else 0
        return encoding, margin, overhead


class TokenRatesSection(Section):
    """Rates by token class, held in millicredits per 1,000,000 tokens."""

    input_mc: RateMc = Field(alias="input")
    cached_input_mc: RateMc | None = Field(default=None, alias="cached_input")
    cache_write_mc: RateMc | None = Field(default=None, alias="cache_write")
    output_mc: RateMc = Field(alias="output")
    reasoning_mc: RateMc | None = Field(default=None, alias="reasoning")

    def by_class(self) -> dict[str, int]:
        """Return all rates; a class without its own has that of input or output."""

        def own_or(own: int | None, usual: int) -> int:
            return usual if own is None else own

        return {
            "input_mc": self.input_mc,
            "output_mc": self.output_mc,
            "cached_input_mc": own_or(self.cached_input_mc, self.input_mc),
            "cache_write_mc": own_or(self.cache_write_mc, self.input_mc),
            "reasoning_mc": own_or(self.reasoning_mc, self.output_mc),
        }


class TierSection(TokenRatesSection):
    """The rates for all tokens of a request with more than this many input tokens."""

    above_input_tokens: Positive

    def build(self) -> Tier:
        """Return the tier."""
        return Tier(**self.by_class(), above_input_tokens=self.above_input_tokens)


class RatesSection(TokenRatesSection):
    """The rates of one model."""

    per_request_mc: RateMc = Field(default=0, alias="per_request")
    tiers: list[TierSection] = Field(default_factory=list)
    free: Flag = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.build()
        return self

    def build(self) -> Rates:
        """Return the rates."""
        return Rates(
            **self.by_class(),
            per_request_mc=self.per_request_mc,
            tiers=tuple(tier.build() for tier in self.tiers),
            free=self.free,
        )


class RateCardSection(Section):
    """The rates of models from one instant on, until the next card."""

    version: Id
    effective_from: Instant
    rates: dict[Id, RatesSection]

    def build(self) -> RateCard:
        """Return the rate card."""
        rates = {model_id: section.build() for model_id, section in self.rates.items()}
        return RateCard(version=self.version, effective_from=self.effective_from, rates=rates)


def _name_actions(value: Any) -> Any:
    """Return actions with their keys as ids, and with numbers with a point as floats."""
    if not isinstance(value, dict):
        return value
    return {
        key: {"id": key, **with_floats(action)} if isinstance(action, dict) else action
        for key, action in value.items()
    }


def with_floats(value: Any) -> Any:
    """Return data of a document with floats for its numbers with a point."""
    if isinstance(value, dict):
        return {key: with_floats(item) for key, item in value.items()}
    if isinstance(value, list):
        return [with_floats(item) for item in value]
    return float(value) if isinstance(value, Decimal) else value


class Config(Section):
    """A whole configuration, as ``load_config`` returns it.

    A config built in Python is checked field by field, but not across sections. ``repr`` does not
    show secrets.
    """

    version: Literal[1]

    data_dir: Folder = Field(default=Path("creditgate-data"), validate_default=True)
    installation_key: Annotated[Secret, AfterValidator(_check_installation_key)] | None = None
    redis: RedisSection = RedisSection()
    archive: ArchiveSection = ArchiveSection()
    service: ServiceSection = ServiceSection()
    worker: WorkerSection = WorkerSection()
    queue: QueueSection = QueueSection()
    tracing: TracingSection = TracingSection()
    stripe: StripeSection | None = None
    executions: ExecutionsSection = ExecutionsSection()
    endpoints: dict[Id, EndpointSection] = Field(default_factory=dict)

    plans: dict[Id, PlanSection]
    pack: PackSection = PackSection()
    offers: dict[Id, OfferSection] = Field(default_factory=dict)
    alerts: AlertsSection = AlertsSection()
    default_caps: DefaultCapsSection = DefaultCapsSection()
    launch_check: LaunchCheckSection = LaunchCheckSection()
    email: EmailSection | None = None
    models: dict[Id, ModelSection] = Field(default_factory=dict)
    rate_cards: list[RateCardSection] = Field(default_factory=list)

    compliance_prompt: Text = ""
    actions: Annotated[dict[Text, ActionSpec], BeforeValidator(_name_actions)] = Field(
        default_factory=dict
    )

    _warnings: tuple[Mistake, ...] = PrivateAttr(default=())

    @property
    def warnings(self) -> tuple[Mistake, ...]:
        """Things to look at that are not mistakes, such as a model that retires soon."""
        return self._warnings

    def with_warnings(self, warnings: Iterable[Mistake]) -> Self:
        """Return a copy that carries these warnings."""
        copy = self.model_copy()
        copy._warnings = tuple(warnings)  # noqa: SLF001  # the copy's own, of this class
        return copy

    def build_rate_cards(self) -> RateCards:
        """Return the rate cards, which give the rates in force at an instant."""
        return RateCards([section.build() for section in self.rate_cards])

    def build_offers(self) -> list[Offer]:
        """Return the offers, in the order of the file."""
        return [section.build(offer_id) for offer_id, section in self.offers.items()]

    def build_pack(self) -> Pack:
        """Return the unit that credits are sold in."""
        return Pack(self.pack.amount_mc // MC_PER_CREDIT, self.pack.price_cents)

    def build_endpoint(self, name: str) -> Endpoint:
        """Return the endpoint of that name, with its key.

        Raises:
            KeyError: there is no endpoint of that name.
        """
        section = self.endpoints[name]
        key, proxy = section.api_key, section.proxy
        return Endpoint(
            name=name,
            api_key=None if key is None else key.get_secret_value(),
            api_base=section.api_base,
            proxy=None if proxy is None else proxy.get_secret_value(),
            ca_file=None if section.ca_file is None else str(section.ca_file),
        )

    def with_api_base(self, endpoint: str, api_base: str) -> Self:
        """Return a copy with another address for an endpoint, such as the demo's, on a free port.

        Raises:
            KeyError: there is no endpoint of that name.
        """
        moved = self.endpoints[endpoint].model_copy(update={"api_base": api_base})
        return self.model_copy(update={"endpoints": {**self.endpoints, endpoint: moved}})
