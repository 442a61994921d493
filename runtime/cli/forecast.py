"""The question before a run whose account can't pay for a tenth of its people."""

from __future__ import annotations

import click

from runtime.actions.spec import ActionSpec
from runtime.bootstrap import open_estimator
from runtime.campaigns.estimate import Estimate, Reach, Sample
from runtime.cli.ledger import run_async
from runtime.cli.options import BadInput
from runtime.cli.terminal import can_ask
from runtime.config import Config
from runtime.wording.amounts import credits_text
from runtime.wording.estimates import reach_text

SAMPLE_SIZE = 500
_FEWEST_REACHED = 10
"""A run is asked about if fewer than one in so many people can be paid for."""


def check_credits(config: Config, action: ActionSpec, sample: Sample, account_id: str) -> None:
    """Go on if the account's credits may last for a tenth of the people, or if told so.

    An account that can't use credits at all runs on fallback values, by its plan: that is said.

    Raises:
        BadInput: they can't, and the answer is no or there is no terminal to ask at.
        KeyboardInterrupt: Ctrl-C instead of an answer.
        AccountUnknown: there is no such account.
        LedgerUnavailable: Redis can't be reached.
    """
    found = run_async(_forecast(config, action, sample, account_id))
    if found.reach is None or not _is_too_little(found, found.reach):
        return
    if not found.reach.usable:
        click.echo(f"note: {reach_text(found.reach, found.people)}", err=True)
        return
    expected = credits_text(found.cost.expected_mc)
    click.echo(f"The run would cost about {expected} credits.", err=True)
    click.echo(reach_text(found.reach, found.people), err=True)
    click.echo("People who have an answer from an earlier run keep it for free.", err=True)
    if not can_ask():
        raise BadInput(
            "the credits can't last for a tenth of the people, and there is no terminal to ask at; "
            "nothing was run. To run it anyway, add --yes"
        )
    try:
        if click.confirm("Run it anyway?", err=True):
            return
    except click.Abort:
        raise KeyboardInterrupt from None
    raise BadInput("nothing was run")


def _is_too_little(found: Estimate, reach: Reach) -> bool:
    """Return whether even the lowest likely cost leaves nine of ten people without credits."""
    return found.called > 0 and reach.people_most * _FEWEST_REACHED < found.people


async def _forecast(
    config: Config, action: ActionSpec, sample: Sample, account_id: str
) -> Estimate:
    async with open_estimator(config) as estimator:
        return await estimator.estimate(action, sample, account_id=account_id)
