"""Checks across the sections of a configuration."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import islice
from urllib.parse import parse_qs, urlsplit

from pricing.offers import MAX_MC
from pricing.quote import quote_mc
from pricing.tokens import ENCODINGS
from providers.litellm.routes import OF_THE_HOST, ROUTES, WITHOUT_JSON_OBJECT, provider_of
from runtime.actions.spec import ActionSpec
from runtime.config.addresses import is_public
from runtime.config.document import ValuePath
from runtime.config.sections import (
    Config,
    ModelSection,
    RateCardSection,
    RatesSection,
    RedisSection,
    SentinelSection,
)
from runtime.config.succession import (
    MOST_SUCCESSORS,
    called_from,
    called_on,
    with_successors,
)
from runtime.hints import did_you_mean

RETIRES_SOON_DAYS = 30
MOST_FINDINGS = 1_000
"""As many are listed; the checks end there."""
_OTHER_TOKENIZERS = ("anthropic", "gemini", "mistral", "deepseek", "xai")
"""Providers that do not offer OpenAI's models."""
_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Finding:
    """A mistake or a warning."""

    path: ValuePath
    message: str
    warning: bool = False
    at_key: bool = False


@dataclass(frozen=True)
class Checker:
    """Finds mistakes across the sections of a config whose single fields are right.

    ``wrong`` has the paths that are already reported, for which the config holds a default or a
    stand-in. Mistakes that only follow from those are not reported.
    """

    config: Config
    now: datetime
    wrong: frozenset[ValuePath] = frozenset()

    def findings(self) -> Iterator[Finding]:
        """Yield the findings, section by section, ``MOST_FINDINGS`` at most."""
        return self._own(self._findings())

    def findings_of(self, action: ActionSpec, path: ValuePath) -> Iterator[Finding]:
        """Yield the findings about one action, which need not be one of the config's.

        Args:
            path: of the action in the findings.
        """
        return self._own(self._action(path, action))

    def _own(self, found: Iterator[Finding]) -> Iterator[Finding]:
        own = (one for one in found if not is_within(one.path, self.wrong))
        return islice(own, MOST_FINDINGS)

    def _findings(self) -> Iterator[Finding]:
        yield from self._executions()
        yield from self._redis()
        yield from self._endpoints()
        yield from self._alerts()
        yield from self._plans()
        yield from self._models()
        yield from self._rate_cards()
        for action_id, action in self.config.actions.items():
            path: ValuePath = ("actions", action_id)
            if action.id != action_id:
                yield Finding((*path, "id"), "must be left out: an action's id is its key")
            yield from self._action(path, action)

    def _executions(self) -> Iterator[Finding]:
        settings = self.config.executions
        outcome_ms = settings.outcome_ttl_hours * _HOUR_MS
        needed_ms = settings.spool_max_age_hours * _HOUR_MS + settings.reservation_ttl_ms
        if outcome_ms <= needed_ms and not self._is_wrong("executions"):
            yield Finding(
                ("executions", "outcome_ttl_hours"),
                f"outcomes are kept for {outcome_ms:,} ms, which must be more than "
                f"spool_max_age_hours plus reservation_ttl_ms, {needed_ms:,} ms: otherwise a "
                "settlement from the spool may come after its execution is forgotten",
            )

    def _alerts(self) -> Iterator[Finding]:
        if self.config.alerts.operator.emails and self.config.email is None:
            found = "must have a section email beside it: nothing is sent by email without one"
            yield Finding(("alerts", "operator", "emails"), found)

    def _redis(self) -> Iterator[Finding]:
        redis = self.config.redis
        if redis.username and redis.password is None and not self._is_wrong("redis", "password"):
            yield Finding(("redis", "username"), "must have redis.password beside it")
        if self._is_wrong("redis", "url"):
            return  # what stands in for it is the default, embedded
        if self._is_wrong("redis", "sentinel"):
            return
        if redis.sentinel is not None:
            yield from self._sentinel(redis, redis.sentinel)
        elif redis.is_embedded:
            yield from self._embedded(redis)
        if redis.cluster and redis.sentinel is None:
            yield from self._cluster(redis)

    def _embedded(self, redis: RedisSection) -> Iterator[Finding]:
        if redis.username is not None:
            yield Finding(
                ("redis", "username"), "must be left out: an embedded server has no users"
            )
        if redis.password is not None:
            yield Finding(
                ("redis", "password"), "must be left out: an embedded server has no password"
            )
        if redis.durability != "relaxed":
            yield Finding(
                ("redis", "durability"), "must be relaxed: an embedded server offers nothing else"
            )

    def _cluster(self, redis: RedisSection) -> Iterator[Finding]:
        parts = urlsplit(redis.url)
        if parts.scheme not in ("redis", "rediss"):
            message = f"must be left out: {redis.url.partition(':')[0]!r} cannot be a cluster"
            yield Finding(("redis", "cluster"), message)
        elif parts.path.strip("/") not in ("", "0") or "db" in parse_qs(parts.query):
            yield Finding(("redis", "url"), "must not name a database: a cluster has only one")

    def _sentinel(self, redis: RedisSection, sentinel: SentinelSection) -> Iterator[Finding]:
        path = ("redis", "sentinel")
        if redis.url != "embedded":
            yield Finding(("redis", "url"), "must be left out: redis.sentinel tells the address")
        if redis.cluster:
            yield Finding(("redis", "cluster"), "must be left out: a cluster has no sentinels")
        if sentinel.username and sentinel.password is None:
            yield Finding((*path, "username"), "must have redis.sentinel.password beside it")
        if sentinel.ca_file and not sentinel.tls:
            yield Finding((*path, "ca_file"), "must be left out, or redis.sentinel.tls be true")
        if len(set(sentinel.nodes)) < len(sentinel.nodes):
            yield Finding((*path, "nodes"), "must not name a sentinel twice")

    def _endpoints(self) -> Iterator[Finding]:
        for name, endpoint in self.config.endpoints.items():
            parts = urlsplit(endpoint.api_base or "")
            if parts.scheme == "http" and endpoint.api_key and is_public(parts.hostname or ""):
                yield Finding(
                    ("endpoints", name, "api_base"),
                    "must begin with https://: the key and all prompts would travel in the clear",
                )

    def _plans(self) -> Iterator[Finding]:
        if not self.config.plans and not self._is_wrong("plans"):
            yield Finding(("plans",), "must have at least one plan")

    def _models(self) -> Iterator[Finding]:
        for model_id, model in self.config.models.items():
            path: ValuePath = ("models", model_id)
            if found := self._unknown("endpoints", model.endpoint):
                yield Finding((*path, "endpoint"), found)
            yield from self._route(path, model)
            yield from self._retires_unseen(model_id, model)
            provider = provider_of(model.litellm_model)
            if provider in _OTHER_TOKENIZERS and model.encoding in ENCODINGS:
                found = f"is OpenAI's; {provider} may count several times as many tokens"
                yield Finding((*path, "encoding"), f"{found}: leave it out", warning=True)
            successor = model.replaced_by
            if successor is None:
                continue
            if found := self._unknown("models", successor):
                yield Finding((*path, "replaced_by"), found)
            line = list(with_successors(self.config.models, model_id))
            if len(line) > MOST_SUCCESSORS:
                found = f"has {MOST_SUCCESSORS} successors or more, one after the other"
                yield Finding((*path, "replaced_by"), f"{found}: name the last one")
            elif self.config.models[line[-1]].replaced_by == model_id:
                names = " -> ".join([*line, model_id])
                yield Finding((*path, "replaced_by"), f"models replace each other: {names}")

    def _route(self, path: ValuePath, model: ModelSection) -> Iterator[Finding]:
        """Check that the model's provider can be called, and that somebody says where it is."""
        provider = provider_of(model.litellm_model)
        if provider == OF_THE_HOST:
            return
        route = ROUTES.get(provider)
        if route is None:
            hint = did_you_mean(provider, ROUTES)
            found = (
                f"provider {provider!r} cannot be called{hint}: LiteLLM cannot be made to send its "
                "requests over the client of creditgate (docs/providers.md lists those it can)"
            )
            yield Finding((*path, "litellm_model"), found)
            return
        endpoint = self.config.endpoints.get(model.endpoint)
        lacks_address = endpoint is not None and endpoint.api_base is None
        if route.address is None and lacks_address and not self._is_wrong("endpoints"):
            found = f"must have api_base: there is no usual address for {provider}"
            yield Finding(("endpoints", model.endpoint), found)
        if model.json_schema == "json_object" and provider in WITHOUT_JSON_OBJECT:
            found = f"must be true or false: LiteLLM cannot ask {provider} for a json_object"
            yield Finding((*path, "json_schema"), found)

    def _retires_unseen(self, model_id: str, model: ModelSection) -> Iterator[Finding]:
        """Warn of a model that retires soon, if no action of the config names it."""
        day = model.retires_on
        if day is None or not 0 < (day - self.now.date()).days <= RETIRES_SOON_DAYS:
            return
        if any(action.model == model_id for action in self.config.actions.values()):
            return
        successor = called_on(day, self.config.models, model_id)
        then = f"{successor!r} if they allow it" if successor else "fallback values"
        found = f"retires on {day}; from then on actions that name it get {then}"
        yield Finding(("models", model_id, "retires_on"), found, warning=True)

    def _rate_cards(self) -> Iterator[Finding]:
        seen: dict[object, str] = {}
        for index, card in enumerate(self.config.rate_cards):
            path: ValuePath = ("rate_cards", index)
            if card.version in seen:
                yield Finding(
                    (*path, "version"), f"two rate cards have the version {card.version!r}"
                )
            if card.effective_from in seen:
                other = seen[card.effective_from]
                found = f"rate card {other!r} begins at the same instant"
                yield Finding((*path, "effective_from"), found)
            seen[card.version] = seen[card.effective_from] = card.version
            for model_id in card.rates:
                if unknown := self._unknown("models", model_id):
                    rates = (*path, "rates", model_id)
                    yield Finding(rates, unknown, warning=True, at_key=True)

    def _action(self, path: ValuePath, action: ActionSpec) -> Iterator[Finding]:
        yield from self._limits(path, action)
        if found := self._unknown("models", action.model):
            yield Finding((*path, "model"), found)
        elif action.model in self.config.models and not self._is_wrong("models", action.model):
            yield from self._prices(path, action)
            yield from self._retirement(path, action)

    def _limits(self, path: ValuePath, action: ActionSpec) -> Iterator[Finding]:
        limits = action.limits
        path = (*path, "limits")
        ttl_ms = self.config.executions.reservation_ttl_ms
        worst_ms = limits.deadline_ms + self.config.redis.timeout_ms
        is_known = not (self._is_wrong("executions") or self._is_wrong("redis", "timeout_ms"))
        if is_known and ttl_ms <= worst_ms:
            yield Finding(
                (*path, "deadline_ms"),
                f"the longest time of an execution, {limits.deadline_ms:,} ms plus "
                f"{self.config.redis.timeout_ms:,} ms (redis.timeout_ms) to settle, must be less "
                f"than executions.reservation_ttl_ms, {ttl_ms:,} ms: the reservation would "
                "expire while the model is being called",
            )
        if limits.attempt_timeout_ms is not None:
            attempts_ms = limits.attempts * limits.attempt_timeout_ms
            if attempts_ms > limits.deadline_ms:
                yield Finding(
                    (*path, "attempt_timeout_ms"),
                    f"{limits.attempts} attempts of {limits.attempt_timeout_ms:,} ms do not fit "
                    f"into deadline_ms, {limits.deadline_ms:,} ms",
                )
        if limits.reservation == "adaptive" and limits.min_output_tokens is None:
            found = (
                "saves little without min_output_tokens, which is then the length of the longest "
                "valid answer, the least that is reserved"
            )
            yield Finding((*path, "reservation"), found, warning=True)
        yield from self._room(path, action)

    def _room(self, path: ValuePath, action: ActionSpec) -> Iterator[Finding]:
        """Check that each model that the action may call leaves room for the answer."""
        most = action.limits.max_output_tokens
        path = (*path, "max_output_tokens")
        for model_id in self._called_from(self.now, action):
            if self._is_wrong("models", model_id):
                continue
            model = self.config.models[model_id]
            if most <= model.reasoning_allowance_tokens:
                yield Finding(
                    path,
                    f"must be more than reasoning_allowance_tokens of model {model_id!r}, "
                    f"{model.reasoning_allowance_tokens:,}: nothing would be left for the answer",
                )
            if model.context_tokens is not None and most >= model.context_tokens:
                yield Finding(
                    path,
                    f"must be less than context_tokens of model {model_id!r}, "
                    f"{model.context_tokens:,}: nothing would be left for the prompt",
                )
            endpoint = self.config.endpoints.get(model.endpoint)
            a_minute = endpoint and endpoint.tokens_per_minute
            if a_minute and most >= a_minute:
                yield Finding(
                    path,
                    f"must be less than tokens_per_minute of endpoint {model.endpoint!r}, "
                    f"{a_minute:,}: one answer could use more than a minute's tokens",
                )

    def _prices(self, path: ValuePath, action: ActionSpec) -> Iterator[Finding]:
        """Check that each model that the action may call has a rate, today and later."""
        if self._is_wrong("rate_cards"):
            return
        cards = self._cards_from_now_on()
        if not cards:
            found = "cannot be priced: no rate card is in force today (rate_cards)"
            yield Finding((*path, "model"), found)
        for card in cards:
            since = f"rate card {card.version!r} (from {card.effective_from:%Y-%m-%d})"
            for model_id in self._called_from(max(card.effective_from, self.now), action):
                rates = card.rates.get(model_id)
                if rates is None:
                    yield Finding((*path, "model"), f"{since} has no rate for {model_id!r}")
                elif _dearest_answer_mc(rates, action) > MAX_MC:
                    found = f"at the rates of {since} one answer may cost more than any balance"
                    yield Finding((*path, "limits", "max_output_tokens"), found)

    def _called_from(self, instant: datetime, action: ActionSpec) -> Iterator[str]:
        """Yield the models that the action calls from an instant on, in order."""
        return called_from(
            instant.date(),
            self.config.models,
            action.model,
            allow_replacement=action.allow_replacement_model,
        )

    def _cards_from_now_on(self) -> list[RateCardSection]:
        """Return the card in force now and later ones; an empty list if none is in force."""
        cards = sorted(self.config.rate_cards, key=lambda card: card.effective_from)
        begun = [card for card in cards if card.effective_from <= self.now]
        return [begun[-1], *cards[len(begun) :]] if begun else []

    def _retirement(self, path: ValuePath, action: ActionSpec) -> Iterator[Finding]:
        """Warn of each model that the action calls and that retires soon, or has retired."""
        called: str | None = action.model
        while called is not None:
            model = self.config.models[called]
            if model.retires_on is None:
                return
            days = (model.retires_on - self.now.date()).days
            if days > RETIRES_SOON_DAYS:
                return
            day = max(model.retires_on, self.now.date())
            successor = called_on(day, self.config.models, called)
            then = "fallback values are used instead (model_unavailable)"
            if model.replaced_by and not action.allow_replacement_model:
                then += ", as allow_replacement_model is false"
                successor = None
            elif successor is not None:
                then = f"{successor!r} is used instead"
            elif model.replaced_by:
                then += f", as {model.replaced_by!r} has retired by then"
            retires, since = ("retires", "then") if days > 0 else ("retired", "now")
            found = f"model {called!r} {retires} on {model.retires_on}; {since} {then}"
            yield Finding((*path, "model"), found, warning=True)
            called = successor

    def _unknown(self, section: str, name: str) -> str | None:
        """Return a message that a section has no such entry, or ``None`` if it has."""
        entries = getattr(self.config, section)
        if name in entries or is_within((section, name), self.wrong):
            return None
        return f"there is no {section.removesuffix('s')} {name!r}{did_you_mean(name, entries)}"

    @cached_property
    def _around_wrong(self) -> frozenset[ValuePath]:
        """The wrong paths and all that contain them."""
        return frozenset(path[:end] for path in self.wrong for end in range(len(path) + 1))

    def _is_wrong(self, *path: str) -> bool:
        return path in self._around_wrong


def _dearest_answer_mc(section: RatesSection, action: ActionSpec) -> int:
    """Return the most that an answer can cost, with a prompt in the dearest tier."""
    rates = section.build()
    input_tokens = rates.tiers[-1].above_input_tokens + 1 if rates.tiers else 0
    return quote_mc(rates, input_tokens, action.limits.max_output_tokens)


def is_within(path: ValuePath, parents: Collection[ValuePath]) -> bool:
    """Return whether ``parents`` has a path, or one that contains it."""
    return any(path[:length] in parents for length in range(len(path) + 1))
