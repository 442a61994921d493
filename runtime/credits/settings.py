"""The settings of a ledger, and the plans, offers and packs on sale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pricing.offers import Offer, Pack
from runtime.credits.caps import DefaultCap
from runtime.credits.checks import check_cap_marks, check_marks, check_whole
from runtime.credits.durability import Durability


@dataclass(frozen=True, slots=True)
class LedgerSettings:
    """The ledger's settings.

    ``outcome_ttl_ms`` is the horizon of idempotency. ``low_marks`` are alert marks: ``p20`` for
    20% of what the last grant left, ``a5000`` for 5,000 mc. One that was told is not told again
    before ``alert_cooldown_ms`` are over. ``cap_marks`` are those of caps: ``c80`` for 80% of the
    limit, told once in each window. ``timeout_ms`` bounds one script call. ``durability`` is
    what a write outlives once it is called done, ``wait_replicas`` how many have it then.
    ``assume`` has what the operator vouches for where a server does not tell it.
    ``max_lag`` is the number of entries by which the archive may lag behind an account's journal
    before new reserves are refused; ``None`` for no bound.
    ``default_caps`` are those that each workspace and each campaign begins with.
    """

    key_prefix: str = "cg1"
    outcome_ttl_ms: int = 7 * 24 * 3_600_000
    low_marks: tuple[str, ...] = ("p20",)
    cap_marks: tuple[str, ...] = ()
    alert_cooldown_ms: int = 3_600_000
    timeout_ms: int = 1_000
    durability: Durability = Durability.RELAXED
    wait_replicas: int = 1
    assume: frozenset[str] = frozenset()
    max_lag: int | None = None
    default_caps: tuple[DefaultCap, ...] = ()

    def __post_init__(self) -> None:
        check_marks(self.low_marks)
        check_cap_marks(self.cap_marks)
        check_whole(self.alert_cooldown_ms, "alert_cooldown_ms")
        check_whole(self.wait_replicas, "wait_replicas", least=1)
        if self.max_lag is not None:
            check_whole(self.max_lag, "max_lag", least=1)
        if len({cap.dimension for cap in self.default_caps}) < len(self.default_caps):
            raise ValueError("default_caps: one for each dimension at most")

    @property
    def replicas(self) -> int:
        """The number of replicas that must acknowledge a write before it counts as done."""
        return self.wait_replicas if self.durability is Durability.REPLICATED else 0

    @property
    def header(self) -> tuple[str, ...]:
        """The settings that each script call carries, in the order of ``main.lua``."""
        return (
            str(self.outcome_ttl_ms),
            ",".join((*self.low_marks, *self.cap_marks)),
            str(self.alert_cooldown_ms),
            "" if self.max_lag is None else str(self.max_lag),
            ",".join(f"{cap.sort}={cap.limit_mc}" for cap in self.default_caps),
        )


@dataclass(frozen=True, slots=True)
class Commerce:
    """The plans, each mapped to whether it has AI credits; the offers; the pack on sale."""

    plans: Mapping[str, bool] = field(default_factory=dict)
    offers: Sequence[Offer] = ()
    pack: Pack = field(default_factory=lambda: Pack(credits=100_000, price_cents=1_000))
