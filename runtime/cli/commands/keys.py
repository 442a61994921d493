"""``creditgate keys``: the keys of the HTTP API."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from runtime.cli.config_file import load
from runtime.cli.options import (
    COMMAND_SETTINGS,
    Duration,
    actor_option,
    config_option,
    examples,
    json_option,
)

if TYPE_CHECKING:
    from runtime.api_keys.api_keys import ApiKeys
    from runtime.api_keys.stored import KeyRecord

_F = TypeVar("_F", bound=Callable[..., Any])
_SCOPES = ("execute", "preview", "billing:read", "billing:write", "admin")
_PAGE = 1_000


def _owner_option(function: _F) -> _F:
    """``--account ID``; without it, the operator's own keys."""
    return click.option(
        "--account",
        "account_id",
        metavar="ID",
        help="The account whose key it is.  [default: the operator's own]",
    )(function)


@click.group(
    context_settings=COMMAND_SETTINGS,
    epilog=examples(
        "creditgate keys create --name ops --scope admin",
        "creditgate keys list --account acme",
    ),
)
def keys() -> None:
    """Create, list, rotate and revoke the keys of the HTTP API.

    A key is bound to one account, or to the operator, whose keys may name every account.
    """


@keys.command(
    epilog=examples(
        "creditgate keys create --name ops --scope admin",
        "creditgate keys create --account acme --name campaigns --scope execute --scope preview",
        "creditgate keys create --account acme --name audit --scope billing:read \\",
        "    --expires-at 2026-12-31T00:00:00Z",
    )
)
@config_option
@_owner_option
@click.option("--name", required=True, metavar="TEXT", help="Its use, for lists.")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(_SCOPES),
    multiple=True,
    required=True,
    help="A thing that it may do; admin includes the others. May be repeated.",
)
@click.option(
    "--expires-at",
    metavar="WHEN",
    help="A day (2026-12-31, from its start in UTC) or a time with its offset.  [default: never]",
)
@actor_option
@json_option
def create(
    config_path: Path,
    account_id: str | None,
    name: str,
    scopes: tuple[str, ...],
    expires_at: str | None,
    actor: str,
    as_json: bool,
) -> None:
    """Create a key and show it, this once.

    The operator's first key can be made by this command alone, where the config is.
    """
    from runtime.api_keys.keys import Scope
    from runtime.cli.api_keys import with_keys
    from runtime.cli.options import BadInput
    from runtime.ids import is_reference

    if is_reference(name) is None:
        raise BadInput("--name: must be text of 1 to 200 characters without control characters")
    expires_ms = None if expires_at is None else _future_ms(expires_at)

    async def ask(found: ApiKeys) -> tuple[KeyRecord, str]:
        return await found.make(
            account_id=account_id,
            name=name,
            scopes=[Scope(scope) for scope in scopes],
            created_by=actor,
            expires_ms=expires_ms,
        )

    _show(*with_keys(load(config_path), ask, of_account=account_id), as_json=as_json)


@keys.command("list", epilog=examples("creditgate keys list", "creditgate keys list --json"))
@config_option
@_owner_option
@json_option
def list_keys(config_path: Path, account_id: str | None, as_json: bool) -> None:
    """Show an account's keys, or the operator's, without their secrets."""
    from runtime.cli.api_keys import with_keys
    from runtime.cli.ledger import print_json
    from runtime.cli.views.api_keys import keys_lines
    from runtime.formats.api_keys import key_json

    async def ask(found: ApiKeys) -> list[KeyRecord]:
        records: list[KeyRecord] = []
        while True:
            after = records[-1].key.key_id if records else None
            page = await found.page(account_id, after=after, limit=_PAGE)
            records += page
            if len(page) < _PAGE:
                return records

    records = with_keys(load(config_path), ask)
    if as_json:
        print_json({"keys": [key_json(record) for record in records]})
        return
    click.echo("\n".join(keys_lines(records)))


@keys.command(
    epilog=examples(
        "creditgate keys rotate 0f4c8a1b2d3e5f60 --grace 1h",
        "creditgate keys rotate 0f4c8a1b2d3e5f60 --account acme",
    )
)
@click.argument("key_id", metavar="KEY")
@config_option
@_owner_option
@click.option(
    "--grace",
    "grace_s",
    type=Duration(),
    default="0",
    help="How long the secret so far counts as well, such as 30m or 1h.",
)
@json_option
def rotate(
    key_id: str, config_path: Path, account_id: str | None, grace_s: float, as_json: bool
) -> None:
    """Give a key a new secret and show it, this once."""
    from runtime.cli.api_keys import with_keys

    async def ask(found: ApiKeys) -> tuple[KeyRecord, str]:
        return await found.rotate(account_id, key_id, grace_ms=int(grace_s * 1000))

    _show(*with_keys(load(config_path), ask), as_json=as_json)


@keys.command(
    epilog=examples(
        "creditgate keys revoke 0f4c8a1b2d3e5f60",
        "creditgate keys revoke 0f4c8a1b2d3e5f60 --account acme",
    )
)
@click.argument("key_id", metavar="KEY")
@config_option
@_owner_option
@json_option
def revoke(key_id: str, config_path: Path, account_id: str | None, as_json: bool) -> None:
    """Revoke a key for good: no process takes its requests a second after this command.

    Where Redis can't be reached, it says so: run it again until it does not.
    """
    from runtime.cli.api_keys import with_keys
    from runtime.cli.ledger import print_json
    from runtime.formats.api_keys import key_json

    record = with_keys(load(config_path), lambda found: found.revoke(account_id, key_id))
    if as_json:
        print_json(key_json(record))
        return
    click.echo(f"The key {key_id} ({record.key.name}) is revoked.")


def _future_ms(text: str) -> int:
    """Return the milliseconds since 1970 of a day or an instant.

    Raises:
        BadInput: it is neither, or not in the future.
    """
    from zoneinfo import ZoneInfo

    from runtime.api_keys.keys import now_ms
    from runtime.cli.failures import refusals
    from runtime.cli.options import BadInput
    from runtime.formats.times import instant_ms, parse_instant

    with refusals():
        at_ms = instant_ms(parse_instant(text, ZoneInfo("UTC"), "--expires-at"))
    if at_ms <= now_ms():
        raise BadInput(f"--expires-at: {text} is not in the future")
    return at_ms


def _show(record: KeyRecord, secret: str, *, as_json: bool) -> None:
    from runtime.cli.ledger import print_json
    from runtime.cli.views.api_keys import made_lines
    from runtime.formats.api_keys import key_json

    if as_json:
        print_json({**key_json(record), "secret": secret})
        return
    click.echo("\n".join(made_lines(record, secret)))
