"""A host that uses every public name, for type checkers: it is checked, and never run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

from creditgate import (
    AccountConflict,
    AccountDamaged,
    Accounts,
    AccountStopped,
    AccountUnknown,
    ActionPerformance,
    ActionRuntime,
    ActionSource,
    ActionSourceUnavailable,
    ActionSpec,
    Alert,
    AlertMarks,
    ArchivedAccount,
    ArchiveError,
    Attempt,
    AttemptEnded,
    Balance,
    BookingUnknown,
    CampaignConflict,
    CampaignStopped,
    CampaignUnknown,
    Cap,
    CapStatus,
    CapUnknown,
    CapWindow,
    Completion,
    CompletionRequest,
    Config,
    ConfigError,
    Cost,
    Counters,
    Covers,
    CreditgateError,
    CreditLedger,
    CursorRefused,
    EmbeddedRedisUnavailable,
    Endpoint,
    EndpointRefusal,
    EntryDamaged,
    Estimate,
    Estimator,
    ExecutionBegan,
    ExecutionConflict,
    ExecutionEnded,
    ExecutionRequest,
    ExecutionResult,
    FailureKind,
    FallbackReason,
    FinishReason,
    GrantBalance,
    Granted,
    GrantKind,
    GrantPayment,
    GrantRefused,
    GrantUnknown,
    InstallationKeyTooShort,
    InvalidRequest,
    LedgerError,
    LedgerLost,
    LedgerUnavailable,
    Message,
    Mistake,
    ModelChoice,
    ModelClass,
    NotArchived,
    NotPrivate,
    NotSent,
    NotSuggested,
    Observer,
    OptionCount,
    Origin,
    PastBalance,
    PastGrant,
    Pending,
    PeopleError,
    PerformanceReport,
    PossiblyExecuted,
    PriceMapMissing,
    PromptError,
    PromptSyntaxError,
    Provider,
    ProviderError,
    PurchaseRefused,
    QueueDamaged,
    QueueError,
    QueueFull,
    QueueUnavailable,
    Reach,
    ReferenceConflict,
    Rejected,
    Reports,
    RequestTooLarge,
    RuntimeClosed,
    Sample,
    ScriptEnded,
    Source,
    StatementKind,
    StatementLine,
    StatementPage,
    Statements,
    StoreError,
    StoreUnavailable,
    Switch,
    Switched,
    TokenUsage,
    TooManyGrants,
    TypicalRun,
    UnknownAction,
    UsageReport,
    UsageRow,
    UsageSums,
    VocabularyMissing,
    Voided,
    WrongEventLoop,
    load_config,
    main,
    model_choices,
    open_estimator,
    open_ledger,
    open_reports,
    open_runtime,
    open_statements,
    parse_config,
)

ERRORS: tuple[type[CreditgateError], ...] = (
    AccountConflict,
    AccountDamaged,
    AccountStopped,
    AccountUnknown,
    ArchiveError,
    BookingUnknown,
    CampaignConflict,
    CampaignStopped,
    CampaignUnknown,
    QueueDamaged,
    QueueError,
    QueueFull,
    QueueUnavailable,
    RequestTooLarge,
    CapUnknown,
    ConfigError,
    CursorRefused,
    EmbeddedRedisUnavailable,
    EntryDamaged,
    ExecutionConflict,
    GrantRefused,
    GrantUnknown,
    InstallationKeyTooShort,
    InvalidRequest,
    LedgerError,
    LedgerLost,
    LedgerUnavailable,
    NotArchived,
    NotPrivate,
    NotSuggested,
    PeopleError,
    PossiblyExecuted,
    PriceMapMissing,
    PromptError,
    PromptSyntaxError,
    ProviderError,
    PurchaseRefused,
    ReferenceConflict,
    Rejected,
    RuntimeClosed,
    StoreError,
    StoreUnavailable,
    TooManyGrants,
    UnknownAction,
    VocabularyMissing,
    WrongEventLoop,
)


class OwnProvider:
    """A provider of the host's own."""

    async def complete(self, request: CompletionRequest) -> Completion:
        endpoint: Endpoint = request.endpoint
        messages: list[Message] = request.messages
        if endpoint.api_key is None:
            raise NotSent(FailureKind.REJECTED, "no key", status=None, retryable=False)
        text = messages[-1]["content"][: request.max_output_tokens]
        usage = TokenUsage(input_tokens=12, output_tokens=3)
        return Completion(text, FinishReason.STOP, usage)

    async def aclose(self) -> None:
        pass


class OwnActions:
    """Actions of the host's own."""

    def __init__(self, specs: Mapping[str, ActionSpec]) -> None:
        self._specs = specs

    async def get(self, account_id: str, action_id: str, version: str | None = None) -> ActionSpec:
        if action_id not in self._specs:
            raise UnknownAction(action_id, version)
        if not self._specs:
            raise ActionSourceUnavailable("ask again later")
        return self._specs[action_id]


provider: Provider = OwnProvider()
actions: ActionSource = OwnActions({})


def read(path: Path) -> Config:
    try:
        return load_config(path)
    except ConfigError as error:
        mistakes: list[Mistake] = error.mistakes
        print(mistakes[0].file, mistakes[0].line, mistakes[0].message)
    return parse_config("version: 1\nplans: {growth: {ai_credits: true}}")


def observe(event: ExecutionBegan | ExecutionEnded | AttemptEnded | ScriptEnded) -> None:
    if isinstance(event, ExecutionEnded):
        print(event.source, event.status, event.reason, event.charged_mc, event.seconds)
    elif isinstance(event, AttemptEnded):
        print(event.endpoint, event.outcome, event.output_tokens)
    elif isinstance(event, ScriptEnded):
        print(event.seconds, event.answered)
    else:
        print(event.source)


observer: Observer = observe


def hear(alert: Alert) -> None:
    print(alert.account_id, alert.mark, alert.left_mc)


async def run(config: Config) -> ExecutionResult | Pending:
    runtime: ActionRuntime
    async with open_runtime(
        config, provider=provider, actions=actions, on_alert=hear, observer=observer
    ) as runtime:
        await change(runtime.accounts)
        counters: Counters = runtime.counters
        healthy: bool | None = runtime.is_healthy("writer")
        print(counters.answers, healthy)
        request = ExecutionRequest(
            execution_id="journey-17:route:1",
            account_id="acme",
            workspace_id="retail",
            campaign_id="welcome",
            person_id="p1",
            action="route_message",
            data={"customer": {"message": "Where is my card?"}},
            source=Source.PREVIEW,
        )
        result = await runtime.execute(request)
        if isinstance(result, Pending):
            return result
        return use(result)


def use(result: ExecutionResult) -> ExecutionResult:
    values: dict[str, Any] = result.values
    origin: Origin = result.origins["intent"]
    reason: FallbackReason | None = origin.reason
    attempts: tuple[Attempt, ...] = result.attempts
    usage: TokenUsage | None = result.usage
    refusal: EndpointRefusal | None = result.endpoint_refusal
    if refusal is not None:
        print(refusal.endpoint, refusal.status)
    print(values, reason, attempts[0].latency_ms, usage, result.attributes["journey"])
    return result


async def change(accounts: Accounts) -> None:
    new: bool = await accounts.open_account("acme", plan="growth", timezone="Europe/Berlin")
    bought: Granted = await accounts.purchase("acme", credits=100_000, payment_reference="i-1")
    await accounts.grant("acme", amount_mc=5, kind=GrantKind.PROMOTIONAL, reference="spring")
    await accounts.grant("acme", amount_mc=5, kind="promotional", reference="autumn")
    switched: Switched = await accounts.switch("lumen", off=True, reason="a test")
    off: tuple[Switch, ...] = await accounts.switches("lumen")
    assert len(off) == 1 or not switched.new
    voided: Voided = await accounts.void(
        "acme", bought.grant_id, reference="chargeback-1", reason="charged back"
    )
    for cap in (Cap(CapWindow.DAY), Cap("month", workspace_id="retail", source="preview")):
        await accounts.set_cap("acme", cap, limit_mc=500_000, reference=f"cap {cap}")
    marks: AlertMarks | None = await accounts.alert_marks("acme")
    own = AlertMarks(low=("p20", "a5000000"), caps=("c80",))
    changed: bool = await accounts.set_alert_marks("acme", own, before=marks)
    caps: tuple[CapStatus, ...] = await accounts.caps("acme")
    balance: Balance = await accounts.balance("acme")
    grants: tuple[GrantBalance, ...] = balance.grants
    print(
        new,
        changed,
        voided.amount_mc,
        caps[0].cap_excess_mc,
        grants[0].expires_at,
        balance.conserved,
    )


async def change_alone(config: Config) -> None:
    ledger: CreditLedger
    async with open_ledger(config, on_alert=hear) as ledger:
        await change(ledger.accounts)


async def forecast(config: Config, people: list[dict[str, dict[str, str]]]) -> Cost:
    estimator: Estimator
    async with open_estimator(config) as estimator:
        found: Estimate = await estimator.estimate(
            config.actions["route_message"], Sample.of(people, size=200), account_id="acme"
        )
    reach: Reach | None = found.reach
    if reach is not None and reach.covers is Covers.LESS:
        print(reach.people_least, reach.people_most)
    return found.cost


def choose(config: Config) -> list[Fraction | None]:
    choices: list[ModelChoice] = model_choices(config, TypicalRun(answer_tokens=80))
    quick = [choice for choice in choices if choice.model_class is ModelClass.QUICK]
    ends: list[date | None] = [choice.retires_on for choice in quick]
    print(ends)
    return [choice.relative_cost for choice in quick]


if __name__ == "__main__":
    main()


async def state(config: Config) -> str | None:
    statements: Statements
    async with open_statements(config) as statements:
        account: ArchivedAccount = await statements.account("acme")
        page: StatementPage = await statements.page(account.account_id, limit=20)
        for line in page.lines:
            print(line.at, line.change_mc, line.left_mc, line.what is StatementKind.EXECUTION)
        charge: StatementLine = await statements.entry("acme", 17)
        payments: tuple[GrantPayment, ...] = charge.payments
        print([payment.amount_mc for payment in payments])
        return page.next_cursor


async def report(config: Config) -> int:
    reports: Reports
    async with open_reports(config) as reports:
        usage: UsageReport = await reports.usage("acme", by=["day", "model"], from_ms=0)
        row: UsageRow
        for row in usage.rows:
            sums: UsageSums = row.sums
            print(row.keys, sums.executions, sums.charged_mc)
        found: PerformanceReport = await reports.performance("acme", from_ms=0)
        action: ActionPerformance
        for action in found.actions:
            chosen: tuple[OptionCount, ...] = action.options
            print(action.answered, action.fell_back, [one.option_name for one in chosen])
        past: PastBalance = await reports.balance_at("acme", usage.to_ms - 1)
        grants: tuple[PastGrant, ...] = past.grants
        return sum(grant.left_mc for grant in grants)
