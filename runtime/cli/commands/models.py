"""``creditgate models``: a comparison of models by cost and support."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtime.cli.config_file import load
from runtime.cli.options import PATH, BadInput, config_option, examples, json_option
from runtime.cli.people import format_options

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from runtime.actions.spec import ActionSpec
    from runtime.campaigns.people_format import PeopleFormat
    from runtime.catalog.choice import ModelChoice, TypicalRun
    from runtime.config import Config
    from runtime.learning.forecast import Typical

_PEOPLE = 100
_HEADER = (
    *("model", "class", "credits a run", "cost", "efficient", "schema", "route", "context"),
    "health",
)


@click.command(
    epilog=examples(
        "creditgate models",
        "creditgate models --action route_message --people people.csv",
        "creditgate models writer --action route_message --answer-tokens 90 --json",
    )
)
@click.argument("model_ids", nargs=-1, metavar="[MODEL]...")
@click.option(
    "--action",
    "action_id",
    metavar="ID",
    help="Compare by a typical run of this action.  [default: 1,000 input and 300 output tokens]",
)
@click.option(
    "--people",
    "people_path",
    type=PATH,
    metavar="FILE",
    help="Count the action's prompt for the first 100 people of it.  [default: its templates]",
)
@format_options
@click.option(
    "--answer-tokens",
    type=click.IntRange(min=1),
    metavar="N",
    help="What an answer takes on average.  [default: as learned, else 40% of the limit]",
)
@config_option
@json_option
def models(
    model_ids: tuple[str, ...],
    action_id: str | None,
    people_path: Path | None,
    answer_tokens: int | None,
    people_format: PeopleFormat,
    config_path: Path,
    as_json: bool,
) -> None:
    """Compare models: cost of a typical run, what they support, how long they stay.

    The cost is in credits, then as a multiple of the cheapest. Cost-efficient are the models that
    cost at most 1.25 times the cheapest of their class. With --action it goes by the answers that
    the action has had, from twenty on. Context and provider's dates come from the config, else
    from LiteLLM's own list. The route says whether a model is called directly or by
    litellm.acompletion; --json has the reason. No model is called.
    """
    from runtime.catalog.choice import model_choices
    from runtime.cli.ledger import print_json

    config = load(config_path)
    _check_known(model_ids, config)
    run = _typical_run(config, action_id, people_path, people_format, answer_tokens)
    choices = [
        choice for choice in model_choices(config, run) if not model_ids or choice.id in model_ids
    ]
    if as_json:
        print_json({"action": action_id, "models": [_json(choice) for choice in choices]})
    elif choices:
        click.echo("\n".join(_lines(choices, run)))
    else:
        click.echo("The config has no models.")


def _check_known(model_ids: Iterable[str], config: Config) -> None:
    """Check that the config has all these models.

    Raises:
        BadInput: with all that it does not have.
    """
    from runtime.hints import did_you_mean

    unknown = [
        f"the config has no model {model_id!r}{did_you_mean(model_id, config.models)}"
        for model_id in model_ids
        if model_id not in config.models
    ]
    if unknown:
        raise BadInput("\n".join(unknown))


def _typical_run(
    config: Config,
    action_id: str | None,
    people_path: Path | None,
    people_format: PeopleFormat,
    answer_tokens: int | None,
) -> TypicalRun:
    from runtime.campaigns.fit import column_rules
    from runtime.campaigns.people import PeopleFile
    from runtime.catalog.choice import TypicalRun
    from runtime.cli.config_file import find_action

    if action_id is None:
        if people_path is not None:
            raise BadInput("--people: say with --action whose prompt to count")
        return TypicalRun(answer_tokens=answer_tokens)
    action = find_action(config, action_id)
    data = []
    if people_path is not None:
        file = PeopleFile(people_path, people_format)
        columns = file.check(limit=_PEOPLE, rules=column_rules(action, {})).columns
        data = [person.data for person in file.read(limit=_PEOPLE, columns=columns)]
    return TypicalRun(action, data, answer_tokens, _learned(config, action))


def _learned(config: Config, action: ActionSpec) -> dict[str, Typical]:
    """Return what is known of the action's answers; nothing is made to look there."""
    from runtime.cli.ledger import run_async
    from runtime.credits.results import LedgerUnavailable

    if config.redis.is_embedded and not (config.data_dir / "redis").exists():
        return {}
    try:
        return run_async(_ask(config, action))
    except LedgerUnavailable as error:
        click.echo(f"Past answers can't be read ({error}): costs are estimated.", err=True)
        return {}


async def _ask(config: Config, action: ActionSpec) -> dict[str, Typical]:
    from runtime.bootstrap import open_estimator

    async with open_estimator(config) as estimator:
        return await estimator.learned(action, config.models)


def _json(choice: ModelChoice) -> dict[str, Any]:
    from dataclasses import asdict

    plain = asdict(choice)
    for name in ("retires_on", "given_up_on"):
        plain[name] = plain[name] and plain[name].isoformat()
    if choice.relative_cost is not None:
        plain["relative_cost"] = round(float(choice.relative_cost), 3)
    return {**plain, "priced": choice.priced}


def _lines(choices: list[ModelChoice], run: TypicalRun) -> Iterator[str]:
    from runtime.cli.views.table import table
    from runtime.wording.models import model_choice_rule, model_state_text

    rows = [_row(choice) for choice in choices]
    lines = table([_HEADER, *rows], right=(2, 3, 7))
    yield next(lines)
    for choice, line in zip(choices, lines, strict=True):
        yield line
        if state := model_state_text(choice):
            yield f"    {state}"
    yield model_choice_rule(run.action.id if run.action else None)


def _row(choice: ModelChoice) -> tuple[str, ...]:
    from runtime.wording.amounts import credits_text

    return (
        choice.id,
        choice.model_class.value,
        "-" if choice.typical_mc is None else credits_text(choice.typical_mc),
        "-" if choice.relative_cost is None else f"{float(choice.relative_cost):.1f}x",
        "yes" if choice.cost_efficient else "no",
        {True: "yes", False: "no", "json_object": "no, JSON"}[choice.json_schema],
        choice.route,
        f"{choice.context_tokens:,}" if choice.context_tokens else "unknown",
        {None: "unknown", True: "healthy", False: "unhealthy"}[choice.healthy],
    )
