"""creditgate runs LLM actions against prepaid credits; these are its public names.

    from creditgate import ExecutionRequest, load_config, open_runtime

    async with open_runtime(load_config("config.yaml")) as runtime:
        result = await runtime.execute(ExecutionRequest(...))

Everything that a host needs is imported from here; the packages behind it may change with any
release. Each name is loaded at its first use, with the names of its group and no others, so that
``import creditgate`` takes no time and a process that only builds requests never loads Redis.

This file is a module of the checkout and the ``__init__`` of the installed package, whose build
(``hatch_build.py``) puts ``creditgate.`` before what ``from`` lines import. That is why the table
below is made of import statements: a string that names a module would be wrong in one of the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fallback.policy import Origin
    from fallback.reasons import FallbackReason
    from pricing.errors import CreditgateError
    from pricing.offers import GrantKind, PurchaseRefused
    from pricing.price_map import PriceMapMissing
    from pricing.rate_card import ModelClass
    from pricing.suggested_rates import NotSuggested
    from pricing.tokens import VocabularyMissing
    from pricing.usage import TokenUsage
    from providers.base import (
        Completion,
        CompletionRequest,
        Endpoint,
        FinishReason,
        Message,
        Provider,
    )
    from providers.errors import FailureKind, NotSent, PossiblyExecuted, ProviderError, Rejected
    from runtime.actions.prompts import PromptError, PromptSyntaxError
    from runtime.actions.requests import (
        Attempt,
        EndpointRefusal,
        ExecutionRequest,
        ExecutionResult,
        InvalidRequest,
        Pending,
        Source,
    )
    from runtime.actions.source import ActionSource, ActionSourceUnavailable, UnknownAction
    from runtime.actions.spec import ActionSpec
    from runtime.archive.errors import ArchiveError, CursorRefused, EntryDamaged, NotArchived
    from runtime.archive.figures import (
        ActionPerformance,
        OptionCount,
        PastBalance,
        PastGrant,
        PerformanceReport,
        UsageReport,
        UsageRow,
        UsageSums,
    )
    from runtime.archive.lines import GrantPayment, StatementKind, StatementLine
    from runtime.archive.reports import Reports, open_reports
    from runtime.archive.statement import (
        ArchivedAccount,
        StatementPage,
        Statements,
        open_statements,
    )
    from runtime.bootstrap import open_estimator, open_runtime
    from runtime.campaigns.estimate import Cost, Covers, Estimate, Estimator, Reach, Sample
    from runtime.campaigns.people import PeopleError
    from runtime.catalog.choice import ModelChoice, TypicalRun, model_choices
    from runtime.config import Config, ConfigError, Mistake, load_config, parse_config
    from runtime.credits.accounts import Accounts
    from runtime.credits.alert_marks import AlertMarks
    from runtime.credits.caps import Cap, CapStatus, CapWindow
    from runtime.credits.identity import InstallationKeyTooShort
    from runtime.credits.ledger import CreditLedger
    from runtime.credits.results import (
        AccountConflict,
        AccountDamaged,
        AccountStopped,
        AccountUnknown,
        Alert,
        Balance,
        BookingUnknown,
        CapUnknown,
        ExecutionConflict,
        GrantBalance,
        Granted,
        GrantRefused,
        GrantUnknown,
        LedgerError,
        LedgerLost,
        LedgerUnavailable,
        ReferenceConflict,
        Switch,
        Switched,
        TooManyGrants,
        Voided,
    )
    from runtime.executions.action_runtime import ActionRuntime
    from runtime.executions.counters import Counters
    from runtime.files.private import NotPrivate
    from runtime.ledger_opening import open_ledger
    from runtime.loop_guard import RuntimeClosed, WrongEventLoop
    from runtime.observing import (
        AttemptEnded,
        ExecutionBegan,
        ExecutionEnded,
        Observer,
        ScriptEnded,
    )
    from runtime.queue.errors import (
        CampaignConflict,
        CampaignStopped,
        CampaignUnknown,
        QueueDamaged,
        QueueError,
        QueueFull,
        QueueUnavailable,
        RequestTooLarge,
    )
    from runtime.redis.embedded_binary import EmbeddedRedisUnavailable
    from runtime.store.database import StoreError, StoreUnavailable

__all__ = [
    "AccountConflict",
    "AccountDamaged",
    "AccountStopped",
    "AccountUnknown",
    "Accounts",
    "ActionPerformance",
    "ActionRuntime",
    "ActionSource",
    "ActionSourceUnavailable",
    "ActionSpec",
    "Alert",
    "AlertMarks",
    "ArchiveError",
    "ArchivedAccount",
    "Attempt",
    "AttemptEnded",
    "Balance",
    "BookingUnknown",
    "CampaignConflict",
    "CampaignStopped",
    "CampaignUnknown",
    "Cap",
    "CapStatus",
    "CapUnknown",
    "CapWindow",
    "Completion",
    "CompletionRequest",
    "Config",
    "ConfigError",
    "Cost",
    "Counters",
    "Covers",
    "CreditLedger",
    "CreditgateError",
    "CursorRefused",
    "EmbeddedRedisUnavailable",
    "Endpoint",
    "EndpointRefusal",
    "EntryDamaged",
    "Estimate",
    "Estimator",
    "ExecutionBegan",
    "ExecutionConflict",
    "ExecutionEnded",
    "ExecutionRequest",
    "ExecutionResult",
    "FailureKind",
    "FallbackReason",
    "FinishReason",
    "GrantBalance",
    "GrantKind",
    "GrantPayment",
    "GrantRefused",
    "GrantUnknown",
    "Granted",
    "InstallationKeyTooShort",
    "InvalidRequest",
    "LedgerError",
    "LedgerLost",
    "LedgerUnavailable",
    "Message",
    "Mistake",
    "ModelChoice",
    "ModelClass",
    "NotArchived",
    "NotPrivate",
    "NotSent",
    "NotSuggested",
    "Observer",
    "OptionCount",
    "Origin",
    "PastBalance",
    "PastGrant",
    "Pending",
    "PeopleError",
    "PerformanceReport",
    "PossiblyExecuted",
    "PriceMapMissing",
    "PromptError",
    "PromptSyntaxError",
    "Provider",
    "ProviderError",
    "PurchaseRefused",
    "QueueDamaged",
    "QueueError",
    "QueueFull",
    "QueueUnavailable",
    "Reach",
    "ReferenceConflict",
    "Rejected",
    "Reports",
    "RequestTooLarge",
    "RuntimeClosed",
    "Sample",
    "ScriptEnded",
    "Source",
    "StatementKind",
    "StatementLine",
    "StatementPage",
    "Statements",
    "StoreError",
    "StoreUnavailable",
    "Switch",
    "Switched",
    "TokenUsage",
    "TooManyGrants",
    "TypicalRun",
    "UnknownAction",
    "UsageReport",
    "UsageRow",
    "UsageSums",
    "VocabularyMissing",
    "Voided",
    "WrongEventLoop",
    "load_config",
    "main",
    "model_choices",
    "open_estimator",
    "open_ledger",
    "open_reports",
    "open_runtime",
    "open_statements",
    "parse_config",
]


def main() -> None:
    """Run the command line."""
    from runtime.cli import main as run_command_line

    run_command_line()


def _values() -> dict[str, Any]:
    from fallback.policy import Origin
    from fallback.reasons import FallbackReason
    from pricing.errors import CreditgateError
    from pricing.offers import GrantKind, PurchaseRefused
    from pricing.price_map import PriceMapMissing
    from pricing.rate_card import ModelClass
    from pricing.suggested_rates import NotSuggested
    from pricing.tokens import VocabularyMissing
    from pricing.usage import TokenUsage

    return locals()


def _provider() -> dict[str, Any]:
    from providers.base import (
        Completion,
        CompletionRequest,
        Endpoint,
        FinishReason,
        Message,
        Provider,
    )
    from providers.errors import FailureKind, NotSent, PossiblyExecuted, ProviderError, Rejected

    return locals()


def _requests() -> dict[str, Any]:
    from runtime.actions.prompts import PromptError, PromptSyntaxError
    from runtime.actions.requests import (
        Attempt,
        EndpointRefusal,
        ExecutionRequest,
        ExecutionResult,
        InvalidRequest,
        Pending,
        Source,
    )
    from runtime.actions.source import ActionSource, ActionSourceUnavailable, UnknownAction
    from runtime.actions.spec import ActionSpec

    return locals()


def _config() -> dict[str, Any]:
    from runtime.config import Config, ConfigError, Mistake, load_config, parse_config

    return locals()


def _accounts() -> dict[str, Any]:
    from runtime.credits.alert_marks import AlertMarks
    from runtime.credits.caps import Cap, CapStatus, CapWindow
    from runtime.credits.identity import InstallationKeyTooShort
    from runtime.credits.results import (
        AccountConflict,
        AccountDamaged,
        AccountStopped,
        AccountUnknown,
        Alert,
        Balance,
        BookingUnknown,
        CapUnknown,
        ExecutionConflict,
        GrantBalance,
        Granted,
        GrantRefused,
        GrantUnknown,
        LedgerError,
        LedgerLost,
        LedgerUnavailable,
        ReferenceConflict,
        Switch,
        Switched,
        TooManyGrants,
        Voided,
    )

    return locals()


def _queue() -> dict[str, Any]:
    from runtime.queue.errors import (
        CampaignConflict,
        CampaignStopped,
        CampaignUnknown,
        QueueDamaged,
        QueueError,
        QueueFull,
        QueueUnavailable,
        RequestTooLarge,
    )

    return locals()


def _models() -> dict[str, Any]:
    from runtime.catalog.choice import ModelChoice, TypicalRun, model_choices

    return locals()


def _people() -> dict[str, Any]:
    from runtime.campaigns.people import PeopleError

    return locals()


def _ledger() -> dict[str, Any]:
    from runtime.credits.accounts import Accounts
    from runtime.credits.ledger import CreditLedger
    from runtime.files.private import NotPrivate
    from runtime.ledger_opening import open_ledger
    from runtime.loop_guard import RuntimeClosed, WrongEventLoop
    from runtime.redis.embedded_binary import EmbeddedRedisUnavailable

    return locals()


def _archive() -> dict[str, Any]:
    from runtime.archive.errors import ArchiveError, CursorRefused, EntryDamaged, NotArchived
    from runtime.archive.figures import (
        ActionPerformance,
        OptionCount,
        PastBalance,
        PastGrant,
        PerformanceReport,
        UsageReport,
        UsageRow,
        UsageSums,
    )
    from runtime.archive.lines import GrantPayment, StatementKind, StatementLine
    from runtime.archive.reports import Reports, open_reports
    from runtime.archive.statement import (
        ArchivedAccount,
        StatementPage,
        Statements,
        open_statements,
    )
    from runtime.store.database import StoreError, StoreUnavailable

    return locals()


def _observing() -> dict[str, Any]:
    from runtime.observing import (
        AttemptEnded,
        ExecutionBegan,
        ExecutionEnded,
        Observer,
        ScriptEnded,
    )

    return locals()


def _runtime() -> dict[str, Any]:
    from runtime.bootstrap import open_estimator, open_runtime
    from runtime.campaigns.estimate import Cost, Covers, Estimate, Estimator, Reach, Sample
    from runtime.executions.action_runtime import ActionRuntime
    from runtime.executions.counters import Counters

    return locals()


_GROUPS = (
    _values,
    _provider,
    _requests,
    _config,
    _accounts,
    _models,
    _queue,
    _people,
    _ledger,
    _archive,
    _observing,
    _runtime,
)
# A function's only local names are those that it imports.
_GROUP_OF = {name: group for group in _GROUPS for name in group.__code__.co_varnames}


if not TYPE_CHECKING:  # a type checker would take any name for one that exists

    def __getattr__(name: str) -> Any:
        if name not in _GROUP_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals().update(_GROUP_OF[name]())
        return globals()[name]


def __dir__() -> list[str]:
    return __all__


if __name__ == "__main__":
    main()
