"""The shapes of answers about credits. Amounts are millicredits."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field


class AccountState(BaseModel):
    """An account, in short; ``new`` tells whether this request opened it."""

    account_id: str = Field(examples=["acme"])
    plan: str = Field(examples=["growth"])
    timezone: str = Field(examples=["Europe/Berlin"])
    state: str = Field(description="`open` or `closed`.", examples=["open"])
    ai_credits: bool = Field(description="The plan has AI credits.")
    available_mc: int = Field(examples=[100_000_000])
    new: bool


class Grant(BaseModel):
    """One grant and its parts."""

    grant_id: str
    kind: str
    priority: int
    expires_at_ms: int | None
    expires_at: datetime | None
    created_at_ms: int
    voided_at_ms: int | None
    amount_mc: int
    available_mc: int
    reserved_mc: int
    charged_mc: int
    expired_mc: int
    voided_mc: int
    reference: str


class CapState(BaseModel):
    """A cap, and what counts towards it in its current window."""

    id: str = Field(description="Its name in paths.", examples=["month;workspace_id=retail"])
    window: str
    workspace_id: str | None
    campaign_id: str | None
    action: str | None
    source: str | None
    limit_mc: int
    charged_mc: int
    reserved_mc: int
    resets_in_ms: int | None
    cap_excess_mc: int


class Balance(BaseModel):
    """An account's balance: granted = available + reserved + charged + expired + voided."""

    account_id: str
    state: str
    plan: str
    timezone: str
    ai_credits: bool
    at: datetime
    at_ms: int
    granted_mc: int
    available_mc: int
    reserved_mc: int
    charged_mc: int
    expired_mc: int
    voided_mc: int
    overage_mc: int
    exposure_mc: int
    open_reservations: int
    journal_seq: int
    switched_off: list[str]
    grants: list[Grant]
    clock_ahead_ms: int
    conserved: bool
    caps: list[CapState]


class PastGrant(BaseModel):
    """The parts of one grant at an instant of the past."""

    grant_id: str
    reference: str
    kind: str
    priority: int
    expires_at_ms: int | None
    amount_mc: int
    left_mc: int
    charged_mc: int
    expired_mc: int
    voided_mc: int


class PastBalance(BaseModel):
    """An account's balance at an instant of the past."""

    account_id: str
    timezone: str
    at: datetime
    at_ms: int
    granted_mc: int
    left_mc: int
    charged_mc: int
    expired_mc: int
    voided_mc: int
    grants: list[PastGrant]
    complete_to: datetime | None
    complete_to_ms: int | None


class Given(BaseModel):
    """Credits that were given; ``new`` is false where the reference gave them before."""

    grant_id: str = Field(examples=["g3"])
    available_mc: int = Field(examples=[100_000_000])
    new: bool


class TakenBack(BaseModel):
    """Credits that were taken back; ``new`` is false where the reference did it before."""

    grant_id: str = Field(examples=["g3"])
    amount_mc: int = Field(examples=[25_000_000])
    available_mc: int = Field(examples=[75_000_000])
    new: bool


class Tokens(BaseModel):
    """Tokens by class."""

    input_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int


class Payment(BaseModel):
    """A grant's part of a charge."""

    grant_id: str
    kind: str
    reference: str
    amount_mc: int


class Line(BaseModel):
    """One movement of an account, and what it had left after it."""

    seq: int
    at: datetime
    effective_at: datetime
    what: str
    kind: str
    text: str
    workspace: str | None
    campaign: str | None
    action: str | None
    action_version: str | None
    model: str | None
    source: str | None
    tokens: Tokens | None
    rate_card: str | None
    paid_by: list[Payment]
    actor: str | None
    reference: str | None
    reason: str | None
    flags: list[str]
    change_mc: int
    charged_mc: int
    overage_mc: int
    exposure_mc: int
    free_mc: int
    left_mc: int
    execution_key: str | None
    epoch: str
    chain: str


class StatementPage(BaseModel):
    """A page of a statement."""

    account_id: str
    timezone: str
    state: str
    archived_seq: int
    left_mc: int
    items: list[Line]
    next_cursor: str | None


class PriceOfClass(BaseModel):
    """The tokens of one class, with their rate for 1,000,000."""

    # `class` is a word of Python's.
    name: str = Field(alias="class")
    tokens: int
    rate_mc: int


class ByRateCard(BaseModel):
    """The cost of a charge by its rate card."""

    cost_mc: int
    per_request_mc: int
    classes: list[PriceOfClass]


class Posting(BaseModel):
    """An amount that moved from one part of a grant to another."""

    grant_id: str
    source: str = Field(alias="from")
    target: str = Field(alias="to")
    amount_mc: int


class Choice(BaseModel):
    """An option that the model chose, by number where the version's names are not known."""

    output: str | int
    option: str | int


class Charge(Line):
    """One entry with all that the journal knows."""

    reserved_at: datetime | None
    reserved_mc: int
    slices: dict[str, int]
    postings: list[Posting]
    choices: list[Choice] | None
    by_rate_card: ByRateCard | None
    body: str


class Sums(BaseModel):
    """Sums of executions."""

    executions: int
    charged_mc: int
    overage_mc: int
    exposure_mc: int
    free_mc: int
    input_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int


class UsageRow(Sums):
    """The sums of one group, with its values of ``by``."""

    day: str | None = None
    month: str | None = None
    model: str | None = None
    model_class: str | None = Field(None, alias="class")
    workspace: str | None = None
    campaign: str | None = None
    action: str | None = None
    source: str | None = None
    outcome: str | None = None
    reason: str | None = None


class Usage(BaseModel):
    """An account's usage in a window of time."""

    account_id: str
    start: datetime = Field(alias="from")
    end: datetime = Field(alias="to")
    complete_to: datetime | None
    timezone: str
    by: list[str]
    rows: list[UsageRow]
    total: Sums


class OptionCount(BaseModel):
    """A count of how often a model chose an option."""

    output: int
    option: int
    count: int
    output_name: str | None
    option_name: str | None


class Performed(BaseModel):
    """The runs of one version of an action on one model."""

    action: str
    action_version: str
    model: str
    runs: int
    answered: int
    fell_back: dict[str, int]
    charged_mc: int
    charged_mc_per_answer: float | None
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    options: list[OptionCount]


class Performance(BaseModel):
    """The performance of an account's actions in a window of time."""

    account_id: str
    start: datetime = Field(alias="from")
    end: datetime = Field(alias="to")
    complete_to: datetime | None
    actions: list[Performed]
    not_counted: str
