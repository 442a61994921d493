"""``creditgate rates``: rate cards, in force or suggested."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtime.cli.config_file import load
from runtime.cli.options import (
    COMMAND_SETTINGS,
    PATH,
    BadInput,
    config_option,
    examples,
    json_option,
)

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    from pricing.rate_card import RateCard
    from runtime.catalog.suggested_rates import Suggestion

_SOURCE = "From the prices that LiteLLM {litellm} lists, times {markup}; a credit is $0.0001."
_NOTES = (
    "No provider promises them: compare them with its price page. Surcharges for regions,",
    "priority or tools are not in them. A card replaces the one before as a whole: what it lacks",
    "has no rate.",
)


class _Markup(click.ParamType["Decimal"]):
    """A factor that prices are multiplied by."""

    name = "factor"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Decimal:
        """Return the factor of a text like ``1.3``."""
        from decimal import Decimal, InvalidOperation

        try:
            markup = Decimal(str(value))
        except InvalidOperation:
            markup = Decimal("NaN")
        if not markup.is_finite() or not 1 <= markup <= 1_000:
            self.fail(f"found {value}, allowed is a factor from 1 to 1000, as 1.3", param, ctx)
        return markup


@click.group(
    context_settings=COMMAND_SETTINGS,
    epilog=examples(
        "creditgate rates show",
        "creditgate rates suggest --markup 1.3 writer sprinter",
    ),
)
def rates() -> None:
    """Show what models cost in credits, or suggest a rate card."""


@rates.command(
    "show",
    epilog=examples("creditgate rates show", "creditgate rates show --json | jq .in_force.version"),
)
@config_option
@json_option
def show_rates(config_path: Path, as_json: bool) -> None:
    """Show the rate card that is in force now, and those to come.

    Rates are credits per 1,000,000 tokens; with --json, millicredits.
    """
    from datetime import UTC, datetime

    from runtime.cli.ledger import print_json
    from runtime.cli.views.rate_card import card_json

    cards, now = load(config_path).build_rate_cards(), datetime.now(UTC)
    in_force, to_come = cards.at(now), cards.after(now)
    if as_json:
        print_json(
            {
                "at": now.isoformat(),
                "in_force": in_force and card_json(in_force),
                "to_come": [card_json(card) for card in to_come],
            }
        )
        return
    if in_force is None:
        click.echo("No rate card is in force now: no model is called.")
    for card in (in_force, *to_come) if in_force else to_come:
        _show_card(card, "in force since" if card is in_force else "to come on")


def _show_card(card: RateCard, when: str) -> None:
    from runtime.cli.views.rate_card import card_lines

    click.echo(f"Rate card {card.version}, {when} {card.effective_from:%Y-%m-%d %H:%M} UTC")
    click.echo("\n".join(card_lines(card)))


@rates.command(
    "suggest",
    epilog=examples(
        "creditgate rates suggest --markup 1.3",
        "creditgate rates suggest --markup 1.3 writer sprinter --from 2027-01-01 --out card.yaml",
        "creditgate rates suggest --markup 1.25 writer=openai/gpt-4.1 gemini/gemini-2.5-pro",
    ),
)
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option(
    "--markup",
    type=_Markup(),
    required=True,
    help="What the providers' prices are multiplied by.",
)
@click.option(
    "--from",
    "effective_from",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="The day on which the card comes into force (UTC).  [default: today]",
)
@click.option("--version", metavar="NAME", help="What receipts call the card.  [default: the day]")
@click.option(
    "--out", type=PATH, metavar="FILE", help="Write the card into this new file, not on stdout."
)
@config_option
@json_option
def suggest(
    models: tuple[str, ...],
    markup: Decimal,
    effective_from: datetime | None,
    version: str | None,
    out: Path | None,
    config_path: Path,
    as_json: bool,
) -> None:
    """Write a rate card for models from the prices that LiteLLM lists, without the network.

    A MODEL is one of the config's, or PROVIDER/NAME as LiteLLM names it, or ID=PROVIDER/NAME for
    one that the config is to have; without any, all of the config's. Each rate is rounded up to
    a thousandth of a credit.

    A model that has no price, or one of zero, that is deprecated, no chat model or not known is
    refused with the reason, and then no card is written.
    """
    from datetime import UTC, datetime

    from runtime.catalog.suggested_rates import chosen_models, is_configured, suggest_card
    from runtime.cli.failures import refusals
    from runtime.cli.ledger import print_json
    from runtime.cli.views.rate_card import card_json

    needs_config = not models or any(map(is_configured, models))
    configured = load(config_path).models if needs_config else {}
    now = datetime.now(UTC)
    start = effective_from or now
    day = datetime(start.year, start.month, start.day, tzinfo=UTC)
    with refusals():
        chosen = chosen_models(models or tuple(configured), configured)
        found = suggest_card(chosen, markup, version or f"{day:%Y-%m-%d}", day, now.date())
    for note in found.notes.values():
        click.echo(f"note: {note}", err=True)
    text = _text(found, markup)
    if out is not None:
        _write_new(out, text)
        click.echo(f"The card is written to {click.format_filename(out)}.", err=True)
    if as_json:
        print_json(
            {**card_json(found.card), "litellm": chosen, "notes": list(found.notes.values())}
        )
    elif out is None:
        click.echo(text, nl=False)


def _text(found: Suggestion, markup: Decimal) -> str:
    from importlib.metadata import version

    from runtime.cli.views.rate_card import card_yaml

    comments = {model_id: found.notes.get(model_id, name) for model_id, name in found.names.items()}
    source = _SOURCE.format(litellm=version("litellm"), markup=markup)
    heading = [f"# {line}" for line in (source, *_NOTES)]
    return "\n".join([*heading, *card_yaml(found.card, comments), ""])


def _write_new(path: Path, text: str) -> None:
    """Write a file that must not be there yet.

    Raises:
        BadInput: it is.
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise BadInput(f"--out: {click.format_filename(path)} already exists") from None
