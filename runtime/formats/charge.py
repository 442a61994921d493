"""A charge in JSON types, with its cost by the rate card; amounts are millicredits."""

from __future__ import annotations

from typing import Any

from pricing.quote import cost_mc
from pricing.rate_card import Rates
from pricing.usage import TokenUsage
from runtime.actions.spec import ActionSpec
from runtime.archive.lines import StatementLine
from runtime.config import Config
from runtime.formats.statement import line_json


def charge_json(line: StatementLine, config: Config) -> dict[str, Any]:
    """Return an entry in JSON types, with its cost by the rate card; amounts are millicredits."""
    rates = rates_of(line, config)
    reserved_at = line.reserved_at
    return {
        **line_json(line),
        "reserved_at": reserved_at and reserved_at.isoformat(),
        "reserved_mc": line.reserved_mc,
        "slices": line.entry.slices,
        "postings": [
            {
                "grant_id": posting.grant_id,
                "from": posting.source.name.lower(),
                "to": posting.target.name.lower(),
                "amount_mc": posting.amount_mc,
            }
            for posting in line.entry.postings
        ],
        "choices": choices_of(line, config),
        "by_rate_card": None
        if rates is None or line.tokens is None
        else {
            "cost_mc": cost_mc(rates, line.tokens),
            "per_request_mc": rates.per_request_mc,
            "classes": [
                {"class": name, "tokens": tokens, "rate_mc": rate_mc}
                for name, tokens, rate_mc in billed_classes(rates, line.tokens)
            ],
        },
        "body": line.entry.body,
    }


def rates_of(line: StatementLine, config: Config) -> Rates | None:
    """Return the rates of the card that priced a charge; ``None`` where the config has no such."""
    found = line.dimensions
    if found is None:
        return None
    for card in config.rate_cards:
        if card.version == line.entry.rate_card_version and found.model in card.rates:
            return card.rates[found.model].build()
    return None


def billed_classes(rates: Rates, tokens: TokenUsage) -> list[tuple[str, int, int]]:
    """Return each class of tokens, every token in one of them, with its rate."""
    tier = rates.at(tokens.input_tokens)
    plain = tokens.input_tokens - tokens.cached_input_tokens - tokens.cache_write_tokens
    return [
        ("input", plain, tier.input_mc),
        ("cached input", tokens.cached_input_tokens, tier.cached_input_mc),
        ("cache write", tokens.cache_write_tokens, tier.cache_write_mc),
        ("output", tokens.output_tokens - tokens.reasoning_tokens, tier.output_mc),
        ("reasoning", tokens.reasoning_tokens, tier.reasoning_mc),
    ]


def choices_of(line: StatementLine, config: Config) -> list[dict[str, Any]] | None:
    """Return the options that the model chose, by name where the config has this version."""
    detail = line.entry.detail
    if line.dimensions is None or line.entry.kind != "settled" or len(detail) <= 1:
        return None
    action = config.actions.get(line.dimensions.action)
    if action is not None and action.version != line.dimensions.action_version:
        action = None
    return [_choice(chosen, action) for chosen in detail[1].split(",") if chosen]


def _choice(chosen: str, action: ActionSpec | None) -> dict[str, Any]:
    output, option = (int(number) for number in chosen.split("."))
    if action is not None and output < len(action.outputs):
        name, declared = list(action.outputs.items())[output]
        options = getattr(declared, "options", ())
        if option < len(options):
            return {"output": name, "option": options[option]}
    return {"output": output, "option": option}
