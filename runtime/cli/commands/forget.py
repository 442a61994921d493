"""``creditgate forget``: remove what models wrote for a person, and keep the charges."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from runtime.cli.config_file import load
from runtime.cli.options import (
    account_option,
    actor_option,
    config_option,
    examples,
    json_option,
    reason_option,
)

if TYPE_CHECKING:
    from runtime.cli.queue import OpenQueue
    from runtime.config import Config
    from runtime.credits.erasure import Forgetting

_TELL_EVERY_S = 2.0


@click.command(
    epilog=examples(
        "creditgate forget --account acme --person p00001 --reason 'request of 12 May' \\",
        "    --actor ann@example.com --reference request-31",
    )
)
@config_option
@account_option
@click.option(
    "--person", "person_id", required=True, metavar="ID", help="The person, as executions name it."
)
@reason_option
@actor_option
@click.option(
    "--reference",
    metavar="TEXT",
    help="The name of this erasure, which is done once. The same reference goes on with one that "
    "was stopped. Without it a new name is made, and shown.",
)
@json_option
def forget(
    config_path: Path,
    account_id: str,
    person_id: str,
    reason: str,
    actor: str,
    reference: str | None,
    as_json: bool,
) -> None:
    """Remove what models wrote for a person: from outcomes, the queue and this folder's spool.

    Requests of the person that wait in the queue are removed too. The charges stay. Asking again
    with an id of the person answers outcome_lost, makes no call and charges nothing. What began
    before and is settled later stores no values, from whichever machine it comes; processes remove
    the values from their own spools within a minute. Put no personal data into reason and
    reference: they are kept.
    """
    import secrets
    from shlex import quote

    from runtime.cli.failures import refusals
    from runtime.cli.ledger import print_json
    from runtime.cli.queue import with_queue
    from runtime.credits.checks import check_reference
    from runtime.credits.results import LedgerUnavailable

    config = load(config_path)
    name = reference if reference is not None else f"forget-{secrets.token_hex(6)}"
    with refusals():
        check_reference(name, "reference")
        check_reference(reason, "reason")
        check_reference(actor, "actor")
    click.echo(f"Forgetting under the reference {name}.", err=True)
    try:
        done = with_queue(
            config,
            lambda opened: _forget(config, opened, account_id, person_id, name, reason, actor),
        )
    except (KeyboardInterrupt, LedgerUnavailable):
        click.echo(
            f"Not done yet. The same command with --reference {quote(name)} goes on.", err=True
        )
        raise
    if as_json:
        print_json(
            {
                "account_id": account_id,
                "reference": name,
                "forgotten_at_ms": done.at_ms,
                "removed": done.removed,
            }
        )
        return
    click.echo(_summary(done))


async def _forget(
    config: Config,
    opened: OpenQueue,
    account_id: str,
    person_id: str,
    reference: str,
    reason: str,
    actor: str,
) -> Forgetting:
    from runtime.cli.interruption import Interruption
    from runtime.executions.forgetting import forget as forget_person
    from runtime.executions.queued_erasure import QueuedValues
    from runtime.executions.spool_erasure import SpooledValues

    with Interruption():
        return await forget_person(
            opened.ledger.erasure,
            [
                QueuedValues(opened.queue, person_id),
                SpooledValues(config.data_dir / "spool"),
            ],
            account_id=account_id,
            person_id=person_id,
            reference=reference,
            reason=reason,
            actor=actor,
            on_progress=_Teller(),
        )


class _Teller:
    """Tells the progress on stderr, every few seconds."""

    def __init__(self) -> None:
        import time

        self._clock = time.monotonic
        self._told_s = self._clock()

    def __call__(self, looked_at: int, total: int | None) -> None:
        if self._clock() - self._told_s < _TELL_EVERY_S:
            return
        self._told_s = self._clock()
        of_all = "" if total is None else f" of about {total:,}"
        click.echo(f"Looked at {looked_at:,}{of_all} keys.", err=True)


def _summary(done: Forgetting) -> str:
    places = ", ".join(f"{number:,} in {place}" for place, number in done.removed.items())
    return (
        f"Removed the person's values: {places}. The charges stay. "
        f"Recorded in the journal of account {done.person.account_id} as forget:{done.reference}."
    )
