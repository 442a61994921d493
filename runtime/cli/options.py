"""Options that commands share, and the values that they take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

DEBUG = "creditgate.debug"
JSON = "creditgate.json"
COMMAND_SETTINGS: dict[str, Any] = {
    "help_option_names": ["-h", "--help"],
    "show_default": True,
    "max_content_width": 100,
    "color": True,  # or else click drops escapes from pipes, where they are to be seen
}

_F = TypeVar("_F", bound=Callable[..., Any])

LONGEST_S = 7 * 24 * 3_600

PATH = click.Path(path_type=Path)


class BadInput(click.ClickException):
    """A command that can't be carried out; the message says why."""

    exit_code = 2


def examples(*lines: str) -> str:
    """Return the examples section of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def config_option(function: _F) -> _F:
    """``--config FILE``."""
    return click.option(
        "--config", "config_path", type=PATH, default="config.yaml", help="The config file."
    )(function)


def action_option(function: _F) -> _F:
    """``--action ID``, an action of the config or of the account."""
    return click.option(
        "--action",
        "action_id",
        required=True,
        metavar="ID",
        help="An action of the config, or a published one of the account.",
    )(function)


def json_option(function: _F) -> _F:
    """``--json``, which turns errors into JSON too."""

    def remember(ctx: click.Context, param: click.Parameter, as_json: bool) -> bool:
        ctx.meta[JSON] = as_json
        return as_json

    return click.option(
        "--json",
        "as_json",
        is_flag=True,
        is_eager=True,
        callback=remember,
        help='Print one JSON object on stdout; for an error, {"error": {...}}.',
    )(function)


def account_option(function: _F) -> _F:
    """``--account ID``."""
    return click.option(
        "--account", "account_id", required=True, metavar="ID", help="The account that pays."
    )(function)


def actor_option(function: _F) -> _F:
    """``--actor NAME``."""
    return click.option(
        "--actor", default="operator", metavar="NAME", help="Your name, for the journal."
    )(function)


def reference_option(function: _F) -> _F:
    """``--reference TEXT``, the name of a change that is made only once."""
    return click.option(
        "--reference",
        required=True,
        metavar="TEXT",
        help="The name of this change. The same reference changes an account only once.",
    )(function)


def reason_option(function: _F) -> _F:
    """``--reason TEXT``."""
    return click.option(
        "--reason", required=True, metavar="TEXT", help="The reason, for the journal."
    )(function)


class Duration(click.ParamType[float]):
    """A duration like ``30s``, ``10m`` or ``1h30m``; its value is in seconds."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the seconds of a text like ``10m``."""
        import re

        if isinstance(value, float):
            return value
        text = str(value).strip()
        found = re.fullmatch(r"(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?|0", text)
        if not text or found is None:
            self.fail(f"found {text!r}; write it like 30s, 10m, 1h30m or 0", param, ctx)
        hours, minutes, seconds = (int(part or 0) for part in found.groups())
        duration_s = 3_600 * hours + 60 * minutes + seconds
        if duration_s > LONGEST_S:
            self.fail(f"found {text}, allowed are 0 to {LONGEST_S // 3_600}h", param, ctx)
        return float(duration_s)


class Credits(click.ParamType[int]):
    """A number of credits with up to three decimals; its value is in millicredits."""

    name = "credits"

    def __init__(self, *, least_mc: int = 1) -> None:
        self._least_mc = least_mc

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the millicredits of a text like ``2500.5``."""
        from decimal import Decimal, InvalidOperation

        from pricing.offers import MAX_MC, MC_PER_CREDIT

        text = str(value)
        try:
            amount = Decimal(text)
        except InvalidOperation:
            amount = Decimal("NaN")
        if not amount.is_finite():
            self.fail(f"{text!r} is not a number of credits; write it like 2500 or 0.5", param, ctx)
        amount_mc = amount * MC_PER_CREDIT
        if not 0 <= amount_mc <= MAX_MC or (amount_mc == 0 and self._least_mc):
            least, most = (Decimal(bound) / MC_PER_CREDIT for bound in (self._least_mc, MAX_MC))
            self.fail(f"found {text}, allowed are {least} to {most:,} credits", param, ctx)
        if amount_mc != amount_mc.to_integral_value():
            self.fail(f"found {text}, allowed are at most three decimals", param, ctx)
        return int(amount_mc)
