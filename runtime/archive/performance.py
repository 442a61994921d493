"""The performance of actions, by version and model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from runtime.actions.spec import ActionSpec
from runtime.archive.figures import ActionPerformance, OptionCount, PerformanceReport
from runtime.archive.rollup import latency_of
from runtime.archive.snapshot import Snapshot
from runtime.archive.spans import Span
from runtime.archive.usage import outcome_of, pieces
from runtime.credits.identity import Dimensions

_KEYS = ("action", "action_version", "model")


@dataclass(slots=True)
class _Sums:
    answered: int = 0
    charged_mc: int = 0
    fell_back: Counter[str] = field(default_factory=Counter)
    latencies: Counter[int] = field(default_factory=Counter)
    options: Counter[tuple[int, int]] = field(default_factory=Counter)

    def add(self, kind: str, reason: str, executions: int, charged_mc: int) -> None:
        outcome = outcome_of(kind, reason)
        self.charged_mc += charged_mc
        if outcome == "answered":
            self.answered += executions
        elif executions:
            self.fell_back[reason if outcome == "fell_back" else outcome] += executions


async def performance_report(
    snapshot: Snapshot, window: Span, actions: Mapping[str, ActionSpec]
) -> PerformanceReport:
    """Return how the account's actions performed; ``actions`` name options of their versions."""
    account = snapshot.account
    found: dict[tuple[str, str, str], _Sums] = {}
    archived = account.archived_part(window)
    if archived is not None:
        await _collect(snapshot, archived, found)
    return PerformanceReport(
        account_id=account.account_id,
        from_ms=window.from_ms,
        to_ms=window.after_ms,
        actions=tuple(
            _performance(key, sums, actions.get(key[0])) for key, sums in sorted(found.items())
        ),
        complete_to_ms=account.complete_to_ms(window.after_ms),
    )


async def _collect(
    snapshot: Snapshot, window: Span, found: dict[tuple[str, str, str], _Sums]
) -> None:
    def sums_of(*key: str | None) -> _Sums:
        action, version, model = (value or "" for value in key)
        return found.setdefault((action, version, model), _Sums())

    runs, edges = await pieces(snapshot, [window])
    keys = (*_KEYS, "kind", "reason")
    for _, *key, kind, reason, executions, charged_mc in await snapshot.sums(
        "usage", runs, keys, ("executions", "charged_mc")
    ):
        sums_of(*key).add(kind, reason, executions, charged_mc)
    rolled_up = [rollup for _, rollup in await snapshot.entries(edges)]
    # Times and options have rows of days alone.
    runs, others = await pieces(snapshot, [window], has_quarters=False)
    settled = [rollup for _, rollup in await snapshot.entries(others, "s")]
    names = await snapshot.names(
        [
            *(dims for rollup in rolled_up for dims, *_ in rollup.usage()),
            *(dims for rollup in settled for dims, *_ in rollup.usage()),
        ]
    )

    def of_dims(dims: int) -> _Sums:
        name: Dimensions = names[dims]
        return sums_of(name.action, name.action_version, name.model)

    for rollup in rolled_up:
        for dims, kind, reason, (executions, charged_mc, *_) in rollup.usage():
            of_dims(dims).add(kind, reason, executions, charged_mc)
    for rollup in settled:
        for dims, bucket, count in rollup.latencies():
            of_dims(dims).latencies[bucket] += count
        for dims, output, option, count in rollup.choices():
            of_dims(dims).options[output, option] += count
    for _, *key, bucket, count in await snapshot.sums(
        "latencies", runs, (*_KEYS, "bucket"), ("executions",)
    ):
        sums_of(*key).latencies[bucket] += count
    for _, *key, output, option, count in await snapshot.sums(
        "choices", runs, (*_KEYS, "output", "option"), ("executions",)
    ):
        sums_of(*key).options[output, option] += count


def _performance(
    key: tuple[str, str, str], sums: _Sums, spec: ActionSpec | None
) -> ActionPerformance:
    action, version, model = key
    outputs = [] if spec is None or spec.version != version else list(spec.outputs.items())
    options = []
    for (output, option), count in sorted(sums.options.items()):
        name, option_name = None, None
        if output < len(outputs):
            name, declared = outputs[output]
            texts = getattr(declared, "options", ())
            option_name = texts[option] if option < len(texts) else None
        options.append(OptionCount(output, option, count, name, option_name))
    return ActionPerformance(
        action=action,
        action_version=version,
        model=model,
        runs=sums.answered + sums.fell_back.total(),
        answered=sums.answered,
        fell_back=dict(sums.fell_back.most_common()),
        charged_mc=sums.charged_mc,
        latency_p50_ms=_percentile(sums.latencies, 50),
        latency_p95_ms=_percentile(sums.latencies, 95),
        options=tuple(options),
    )


def _percentile(latencies: Counter[int], percent: int) -> float | None:
    """Return the latency that so many per cent do not exceed."""
    wanted = -(-latencies.total() * percent // 100)
    reached = 0
    for bucket, count in sorted(latencies.items()):
        reached += count
        if reached >= wanted:
            return round(latency_of(bucket), 1)
    return None
