"""Errors, as text for people and as JSON; never a traceback."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import click

from pricing.errors import CreditgateError
from runtime.cli.options import JSON, BadInput
from runtime.config import ConfigError
from runtime.credits.identity import InstallationKeyTooShort
from runtime.credits.results import (
    AccountConflict,
    AccountUnknown,
    CapUnknown,
    ExecutionConflict,
    GrantRefused,
    GrantUnknown,
    LedgerError,
    LedgerUnavailable,
    ReferenceConflict,
)
from runtime.wording.accounts import conflict_text
from runtime.wording.reasons import REASONS

WRONG = 2
GAVE_UP = 3
INTERNAL = 70
INTERRUPTED = 130

_HINTS: Mapping[type[LedgerError], str] = {
    GrantUnknown: ". Its grants and their ids:\n  creditgate balance --account ID",
    CapUnknown: ". Its caps:\n  creditgate cap list --account ID",
}
"""Advice about an error, to stand after its message."""


def report(ctx: click.Context, error: BaseException) -> int:
    """Print an error to stderr, and with ``--json`` to stdout too; return the exit status."""
    if isinstance(error, KeyboardInterrupt):
        click.echo("Stopped.", err=True)
        return INTERRUPTED
    status = error.exit_code if isinstance(error, click.ClickException) else WRONG
    message = _message(error)
    if message is None:
        status = INTERNAL
        message = (
            f"creditgate itself failed ({type(error).__name__}). Please report this; "
            "`creditgate --debug ...` shows where."
        )
    if ctx.meta.get(JSON):
        found: dict[str, Any] = {"kind": type(error).__name__, "message": message}
        if isinstance(error, ConfigError):
            found["mistakes"] = [asdict(mistake) for mistake in error.mistakes]
        click.echo(json.dumps({"error": found}, ensure_ascii=False))
    if isinstance(error, click.UsageError):
        error.show()
    else:
        click.echo(f"Error: {message}", err=True)
    return status


@contextmanager
def refusals() -> Iterator[None]:
    """Turn a ``ValueError`` raised inside into a ``BadInput``.

    Wrap only calls that validate the user's input: anywhere else a ``ValueError`` is a bug.

    Raises:
        BadInput: instead of the ``ValueError``.
    """
    try:
        yield
    except ValueError as error:
        raise BadInput(str(error)) from None


def _message(error: BaseException) -> str | None:
    """Return the message of an expected error, or ``None`` for any other."""
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, ConfigError):
        count = len(error.mistakes)
        return f"the config has {count} mistake{'s' * (count != 1)}:\n{error}"
    if isinstance(error, LedgerError):
        return _ledger_message(error)
    if isinstance(error, InstallationKeyTooShort):
        return (
            f"{error}. Restore installation.key in the data folder from a backup; if nothing "
            "was run yet, delete it, and the next start makes a new one"
        )
    if isinstance(error, CreditgateError):
        return str(error)
    if isinstance(error, OSError):
        file = f"{error.filename}: " if error.filename else ""
        return f"{file}{error.strerror or error}"
    return None


def _ledger_message(error: LedgerError) -> str:
    if isinstance(error, AccountUnknown):
        return f"{error}:\n  creditgate account open {error.account_id} --plan PLAN"
    if isinstance(error, AccountConflict) and error.field == "state":
        return f"{error}: a closed account can't be changed"
    if isinstance(error, ReferenceConflict):
        return conflict_text(error.reference, error.field, error.stored)
    if isinstance(error, GrantRefused):
        return f"{error} ({REASONS[error.reason]})"
    if isinstance(error, ExecutionConflict):
        # Its own message holds the execution id, and with it the person's.
        return (
            f"people were run before in this campaign with another {error.field}; "
            "give this run another --campaign"
        )
    if isinstance(error, LedgerUnavailable):
        return f"can't use the ledger's Redis: {error}"
    return f"{error}{_HINTS.get(type(error), '')}"
