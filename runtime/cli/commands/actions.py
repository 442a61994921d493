"""``creditgate actions``: the actions that an account has of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtime.cli.config_file import load
from runtime.cli.options import (
    COMMAND_SETTINGS,
    PATH,
    BadInput,
    account_option,
    actor_option,
    config_option,
    examples,
    json_option,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.config.drafts import CheckedDraft
    from runtime.library.library import Library, Published
    from runtime.library.stored import Change, StoredAction

_id_argument = click.argument("action_id", metavar="ACTION")


@click.group(
    context_settings=COMMAND_SETTINGS,
    epilog=examples(
        "creditgate actions publish greet.yaml --account acme --note 'Shorter prompt'",
        "creditgate actions list --account acme",
    ),
)
def actions() -> None:
    """List, publish and archive the actions that an account has of its own.

    Executions that a service runs find an account's own actions before those of the config.
    """


@actions.command("list", epilog=examples("creditgate actions list --account acme"))
@config_option
@account_option
@click.option("--workspace", "workspace_id", metavar="ID", help="Those of it, and those of all.")
@click.option("--archived", is_flag=True, help="Archived ones instead of the others.")
@json_option
def list_actions(
    config_path: Path, account_id: str, workspace_id: str | None, archived: bool, as_json: bool
) -> None:
    """List an account's own actions."""
    from runtime.cli.ledger import print_json
    from runtime.cli.library import with_library
    from runtime.cli.views.actions import actions_lines
    from runtime.library.forms import action_json
    from runtime.library.library import MOST_ACTIONS

    async def ask(library: Library) -> list[StoredAction]:
        return await library.page(
            account_id, workspace_id=workspace_id, archived=archived, limit=MOST_ACTIONS
        )

    found = with_library(load(config_path), ask)
    if as_json:
        print_json({"actions": [action_json(one) for one in found]})
        return
    click.echo("\n".join(actions_lines(found)))


@actions.command("show", epilog=examples("creditgate actions show greet --account acme"))
@config_option
@_id_argument
@account_option
@json_option
def show(config_path: Path, action_id: str, account_id: str, as_json: bool) -> None:
    """Show an action: what is published, its draft, and what the draft lacks."""
    from runtime.cli.ledger import print_json
    from runtime.cli.library import with_library
    from runtime.cli.views.actions import action_lines
    from runtime.library.forms import action_json

    async def ask(library: Library) -> tuple[StoredAction, CheckedDraft]:
        found = await library.find(account_id, action_id)
        return found, await library.check(action_id, found.draft)

    action, checked = with_library(load(config_path), ask)
    if as_json:
        mistakes = [str(one) for one in checked.mistakes]
        print_json({**action_json(action), "draft": action.draft, "mistakes": mistakes})
        return
    click.echo("\n".join(action_lines(action, checked)))


@actions.command(
    "publish",
    epilog=examples(
        "creditgate actions publish greet.yaml --account acme --note 'Shorter prompt'",
        "creditgate actions publish greet.json --account acme --action greet_2 \\",
        "    --workspace retail --name 'Greeting, second try'",
    ),
)
@config_option
@click.argument("path", type=PATH, metavar="FILE")
@account_option
@click.option("--action", "action_id", metavar="ID", help="Its id.  [default: the file's id]")
@click.option("--name", metavar="TEXT", help="Its name.  [default: as before, or its id]")
@click.option(
    "--workspace",
    "workspace_id",
    metavar="ID",
    help="The workspace that it belongs to.  [default: as before, or all]",
)
@click.option("--note", default="", metavar="TEXT", help="What changed, for the history.")
@actor_option
@json_option
def publish(  # noqa: PLR0913 - one parameter an option
    config_path: Path,
    path: Path,
    account_id: str,
    action_id: str | None,
    name: str | None,
    workspace_id: str | None,
    note: str,
    actor: str,
    as_json: bool,
) -> None:
    """Make the action in a file the version that runs.

    The file is YAML or JSON, like an entry of `actions` in the config. With a mistake in it,
    nothing is saved. Every process runs the new version within a second.
    """
    from runtime.cli.ledger import print_json
    from runtime.cli.library import check, read_action_file, with_library
    from runtime.ids import is_reference
    from runtime.library.forms import version_json

    config = load(config_path)
    draft = read_action_file(path)
    wanted = _wanted_id(action_id, draft)
    if is_reference(note or "-") is None:
        raise BadInput("--note: must be text of at most 200 characters without control characters")
    check(config, wanted, {**draft, "id": wanted})

    async def ask(library: Library) -> Published:
        fields = {key: value for key, value in draft.items() if key != "id"}
        if await library.exists(account_id, wanted):
            before = await library.find(account_id, wanted)
            saved = await library.save(
                account_id,
                wanted,
                etag=before.etag,
                name=name or before.name,
                workspace_id=workspace_id or before.workspace_id,
                draft=fields,
            )
        else:
            saved = await library.create(
                account_id,
                wanted,
                name=name or wanted,
                workspace_id=workspace_id,
                draft=fields,
                by=actor,
            )
        return await library.publish(
            account_id, wanted, etag=saved.action.etag, note=note, by=actor
        )

    done = with_library(config, ask)
    if as_json:
        found = version_json(done.version)
        print_json({"action_id": wanted, **found, "new": done.is_new, "in_force": done.in_force})
        return
    click.echo(f"Published: {wanted}, version {done.version.number} ({done.version.version}).")
    if not done.in_force:
        click.echo("Redis can't be reached: a service writes it there as soon as it can.")


@actions.command("history", epilog=examples("creditgate actions history greet --account acme"))
@config_option
@_id_argument
@account_option
@json_option
def history(config_path: Path, action_id: str, account_id: str, as_json: bool) -> None:
    """Show when an action was created, published, archived and restored, and by whom."""
    from runtime.cli.ledger import print_json
    from runtime.cli.library import with_library
    from runtime.cli.views.actions import history_lines
    from runtime.library.forms import change_json

    async def ask(library: Library) -> list[Change]:
        return await library.history(account_id, action_id, limit=1_000)

    found = with_library(load(config_path), ask)
    if as_json:
        print_json({"action_id": action_id, "changes": [change_json(one) for one in found]})
        return
    click.echo("\n".join(history_lines(found)))


@actions.command("archive", epilog=examples("creditgate actions archive greet --account acme"))
@config_option
@_id_argument
@account_option
@actor_option
@json_option
def archive(config_path: Path, action_id: str, account_id: str, actor: str, as_json: bool) -> None:
    """Take an action off the lists. What names it still runs; to stop it, switch it off."""

    async def ask(library: Library) -> StoredAction:
        found = await library.find(account_id, action_id)
        return await library.archive(account_id, action_id, etag=found.etag, by=actor)

    _change(config_path, ask, f"Archived: {action_id}.", as_json=as_json)


@actions.command("restore", epilog=examples("creditgate actions restore greet --account acme"))
@config_option
@_id_argument
@account_option
@actor_option
@json_option
def restore(config_path: Path, action_id: str, account_id: str, actor: str, as_json: bool) -> None:
    """Bring an archived action back to the lists."""

    async def ask(library: Library) -> StoredAction:
        found = await library.find(account_id, action_id)
        return await library.restore(account_id, action_id, etag=found.etag, by=actor)

    _change(config_path, ask, f"Restored: {action_id}.", as_json=as_json)


def _change(config_path: Path, ask: Callable[[Library], Any], done: str, *, as_json: bool) -> None:
    from runtime.cli.ledger import print_json
    from runtime.cli.library import with_library
    from runtime.library.forms import action_json

    found = with_library(load(config_path), ask)
    if as_json:
        print_json(action_json(found))
        return
    click.echo(done)


def _wanted_id(action_id: str | None, draft: dict[str, Any]) -> str:
    """Return the id under which a file is published.

    Raises:
        BadInput: neither the file nor the command names one.
    """
    from runtime.ids import ID_RULE, is_strict_id

    wanted = action_id or draft.get("id")
    if not isinstance(wanted, str) or is_strict_id(wanted) is None:
        raise BadInput(f"--action: the file has no id, or it is not {ID_RULE}")
    return wanted
