"""The public names: which they are, that they are quick to import, and that documents use them."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import creditgate
from tests.harness.paths import ROOT

PUBLIC = """
    AccountConflict AccountDamaged AccountStopped AccountUnknown Accounts ActionRuntime
    ActionSource ActionSourceUnavailable ActionSpec
    Alert AlertMarks Attempt Balance BookingUnknown
    Cap CapStatus CapUnknown CapWindow Completion CompletionRequest Config
    ConfigError Cost Counters Covers CreditLedger CreditgateError EmbeddedRedisUnavailable Endpoint
    EndpointRefusal
    Estimate Estimator ExecutionConflict ExecutionRequest ExecutionResult FailureKind
    FallbackReason FinishReason GrantBalance GrantKind GrantRefused GrantUnknown Granted
    InstallationKeyTooShort InvalidRequest LedgerError LedgerLost LedgerUnavailable
    Message Mistake ModelChoice ModelClass
    NotPrivate NotSent NotSuggested Origin PeopleError Pending PossiblyExecuted
    PriceMapMissing PromptError
    PromptSyntaxError Provider ProviderError PurchaseRefused Reach ReferenceConflict Rejected
    RuntimeClosed Sample
    Source Switch Switched TokenUsage TooManyGrants TypicalRun UnknownAction
    VocabularyMissing Voided WrongEventLoop
    ArchiveError ArchivedAccount CursorRefused EntryDamaged GrantPayment NotArchived StatementLine
    StatementPage Statements StoreError StoreUnavailable StatementKind open_statements
    ActionPerformance OptionCount PastBalance PastGrant PerformanceReport Reports UsageReport
    UsageRow UsageSums open_reports
    CampaignConflict CampaignStopped CampaignUnknown QueueDamaged QueueError QueueFull
    QueueUnavailable RequestTooLarge
    AttemptEnded ExecutionBegan ExecutionEnded Observer ScriptEnded
    load_config main model_choices open_estimator open_ledger open_runtime parse_config
"""
SURFACE = ast.parse((ROOT / "creditgate.py").read_text("utf-8"))
TYPED = ast.parse((ROOT / "tests" / "typing" / "api.py").read_text("utf-8"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
DEEP = re.compile(r"^\s*(?:from|import) +(?:runtime|pricing|fallback|providers)\b.*", re.MULTILINE)


def imported(body: list[ast.stmt]) -> set[str]:
    """The import statements among some statements."""
    return {ast.unparse(statement) for statement in body if isinstance(statement, ast.ImportFrom)}


def test_a_name_is_not_added_or_lost_by_accident() -> None:
    assert sorted(creditgate.__all__) == sorted(PUBLIC.split())


@pytest.mark.parametrize("name", PUBLIC.split())
def test_every_public_name_can_be_imported(name: str) -> None:
    assert getattr(creditgate, name) is not None
    assert name in dir(creditgate)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'creditgate' has no attribute 'Nonsense'"):
        _ = creditgate.Nonsense  # type: ignore[attr-defined]  # that is the point


def test_what_type_checkers_see_is_what_is_loaded() -> None:
    [checked] = [statement for statement in SURFACE.body if isinstance(statement, ast.If)][:1]
    loaders = [part for part in SURFACE.body if isinstance(part, ast.FunctionDef)]
    loaded = [imported(part.body) for part in loaders if part.name != "main"]
    assert imported(checked.body) == set().union(*loaded)
    assert sum(map(len, loaded)) == len(imported(checked.body))


@pytest.mark.parametrize(
    "code, absent",
    [
        ("import creditgate", "runtime pydantic redis litellm aiohttp click"),
        ("from creditgate import FallbackReason, TokenUsage", "runtime pydantic redis litellm"),
        ("from creditgate import ExecutionRequest, ActionSpec, Source", "redis litellm aiohttp"),
        ("from creditgate import Cap, LedgerUnavailable, load_config", "litellm aiohttp"),
        ("from creditgate import open_ledger", "litellm aiohttp tiktoken tenacity"),
        ("from creditgate import open_ledger", "sqlalchemy alembic aiosqlite"),
        ("from creditgate import open_runtime", "litellm sqlalchemy alembic"),
    ],
)
def test_a_name_loads_no_more_than_its_group(code: str, absent: str) -> None:
    found = f"import sys; print(*[name for name in {absent.split()} if name in sys.modules])"
    loaded = subprocess.run(
        [sys.executable, "-c", f"{code}\n{found}"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert loaded.stdout.split() == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_documented_example_imports_a_deep_module(page: Path) -> None:
    code = re.findall(r"^```\w*\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert [line for block in code for line in DEEP.findall(block)] == []


def test_the_typed_example_of_a_host_uses_every_public_name() -> None:
    [public] = [
        part
        for part in TYPED.body
        if isinstance(part, ast.ImportFrom) and part.module == "creditgate"
    ]
    used = {node.id for node in ast.walk(TYPED) if isinstance(node, ast.Name)}
    assert {alias.name for alias in public.names} == set(creditgate.__all__)
    assert used >= set(creditgate.__all__)
