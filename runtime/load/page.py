"""The report of a load as one HTML page: no script, and nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from runtime.load.charts import Chart, Line, bars
from runtime.wording.amounts import credits_text

_MEGABYTE = 1_000_000

_STYLE = """
:root { color-scheme: light dark; --ground: #f6f7f9; --card: #ffffff; --text: #1c2024;
  --soft: #5b6470; --rule: #dfe3e8; --good: #18794e; --bad: #c62a2f;
  --c0: #2563c9; --c1: #b45309; --c2: #7c3aad; --c3: #0f766e; --c4: #c0266d; --c5: #4d7c0f;
  --c6: #64748b; --c7: #9a3412; }
@media (prefers-color-scheme: dark) { :root { --ground: #0f1216; --card: #171b21; --text: #e8ebef;
  --soft: #9aa4b1; --rule: #2a313a; --good: #4cc38a; --bad: #ff6369;
  --c0: #70a5ff; --c1: #f0a04b; --c2: #c79bf2; --c3: #4fd1c1; --c4: #f587b8; --c5: #a3d65c;
  --c6: #a3b1c2; --c7: #f29b7c; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 24px clamp(12px, 3vw, 32px) 48px; background: var(--ground);
  color: var(--text); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1216px; margin: 0 auto; }
h1 { font-size: 24px; line-height: 1.25; margin: 0 0 4px; }
h2 { font-size: 17px; margin: 28px 0 10px; }
p { margin: 0; } .soft, .note, .unit { color: var(--soft); } .note { font-size: 13px; }
.cards { display: grid; gap: 12px; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); }
.card, figure { background: var(--card); border: 1px solid var(--rule); border-radius: 10px;
  padding: 14px 16px; margin: 0; min-width: 0; }
.card b { display: block; font-size: 22px; line-height: 1.3; font-weight: 650;
  font-variant-numeric: tabular-nums; }
.card span { color: var(--soft); font-size: 13px; }
.verdict { border: 2px solid var(--good); margin-top: 20px; }
.verdict.broken { border-color: var(--bad); }
.verdict > strong { display: block; font-size: 18px; color: var(--good); margin-bottom: 10px; }
.verdict.broken > strong, .wrong b { color: var(--bad); }
.verdict .cards { grid-template-columns: repeat(auto-fit, minmax(135px, 1fr)); }
.verdict .card { border: 0; padding: 0; background: none; }
.verdict ul { margin: 12px 0 0; padding-left: 18px; overflow-wrap: anywhere; }
.verdict .note { margin-top: 10px; }
.charts { display: grid; gap: 12px; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); }
figcaption { font-weight: 650; } .unit { font-weight: 400; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 14px; margin: 8px 0; font-size: 13px; }
.legend i { display: inline-block; width: 12px; height: 3px; margin-right: 6px;
  vertical-align: middle; background: var(--c); }
.plot { position: relative; margin: 10px 0 0 58px; height: 190px; }
.plot svg { display: block; width: 100%; height: 100%; overflow: visible; }
.ticks span { position: absolute; right: calc(100% + 8px); transform: translateY(-50%);
  font-size: 12px; color: var(--soft); white-space: nowrap; font-variant-numeric: tabular-nums; }
.times { display: flex; justify-content: space-between; margin: 6px 0 0 58px; font-size: 12px;
  color: var(--soft); }
svg polyline { fill: none; stroke: var(--c); stroke-width: 2; stroke-linejoin: round;
  vector-effect: non-scaling-stroke; }
svg polygon { fill: var(--c); fill-opacity: .82; }
svg .grid line { stroke: var(--rule); vector-effect: non-scaling-stroke; }
.c0 { --c: var(--c0); } .c1 { --c: var(--c1); } .c2 { --c: var(--c2); } .c3 { --c: var(--c3); }
.c4 { --c: var(--c4); } .c5 { --c: var(--c5); } .c6 { --c: var(--c6); } .c7 { --c: var(--c7); }
.bar { display: grid; grid-template-columns: minmax(110px, 38%) 1fr auto; gap: 10px;
  margin-top: 8px; align-items: center; font-size: 13px; } .bar .name { overflow-wrap: anywhere; }
.bar .track { background: var(--rule); height: 10px; border-radius: 5px; overflow: hidden; }
.bar i { display: block; height: 100%; background: var(--c0); }
.bar .count { font-variant-numeric: tabular-nums; } small { color: var(--soft); }
.nothing { color: var(--soft); padding: 24px 0; }
details { margin-top: 10px; font-size: 13px; } summary { cursor: pointer; color: var(--soft); }
.wide { overflow: auto; max-height: 340px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin-top: 6px; }
th, td { text-align: right; padding: 3px 12px 3px 0; border-bottom: 1px solid var(--rule);
  white-space: nowrap; } th:first-child { text-align: left; } th { font-weight: 500; }
.plain table { width: 100%; font-size: 13px; }
.plain th { width: 34%; white-space: normal; vertical-align: top; }
.plain td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>creditgate load {run}</title>
<style>{style}</style>
</head>
<body><main>
<h1>Load {run}</h1>
<p class="soft">{subtitle}</p>
{verdict}
<h2>Executions</h2>
<div class="cards">{cards}</div>
<h2>Over time</h2>
<div class="charts">{charts}</div>
<h2>How it was run</h2>
<div class="card plain">{settings}</div>
</main></body>
</html>
"""

_STATUS_NAMES = {
    "model": "answered",
    "fallback": "fallback values",
    "mixed": "answered in part",
    "pending": "running elsewhere",
    "failed": "failed",
}


def page_of(report: Mapping[str, Any]) -> str:
    """Return a report, as ``report_of`` makes it, as an HTML page."""
    return _PAGE.format(
        run=escape(report["run_id"]),
        style=_STYLE,
        subtitle=escape(_subtitle(report)),
        verdict=_verdict(report),
        cards=_cards(report),
        charts="".join(_charts(report)),
        settings=_settings(report),
    )


def load_text(settings: Mapping[str, Any]) -> str:
    """Return a load in one clause, as ``50 executions a second on 20 accounts``."""
    if settings["rate"] is not None:
        load = f"{settings['rate']:g} executions a second"
    else:
        load = f"{settings['concurrency']:,} callers"
    count = settings["accounts"]
    return f"{load} on {count:,} account{'s' * (count != 1)}"


def _subtitle(report: Mapping[str, Any]) -> str:
    early = ", ended early" if report["interrupted"] else ""
    return (
        f"{load_text(report['settings'])}, {report['where']}, {report['began_at']}, "
        f"{report['elapsed_s']:g} s{early}"
    )


def _verdict(report: Mapping[str, Any]) -> str:
    verdict, problems = report["verdict"], report["problems"]
    holds = verdict["holds"] and not problems
    tiles = (
        ("credits overspent", credits_text(verdict["overspent_mc"]), verdict["overspent_mc"]),
        ("leaked reservations", f"{verdict['leaks']:,}", verdict["leaks"]),
        ("double charges", f"{verdict['double_charges']:,}", verdict["double_charges"]),
        ("lost settlements", f"{verdict['lost_settlements']:,}", verdict["lost_settlements"]),
        ("audit differences", f"{verdict['audit_differences']:,}", verdict["audit_differences"]),
    )
    shown = "".join(
        f'<div class="card{" wrong" * bool(wrong)}"><b>{text}</b><span>{name}</span></div>'
        for name, text, wrong in tiles
    )
    details = "".join(f"<li>{escape(one)}</li>" for one in [*problems, *verdict["details"]])
    provider = report["provider"]
    said = "Every promise was kept" if holds else "Not every promise was kept"
    return (
        f'<section class="card verdict{"" if holds else " broken"}"><strong>{said}</strong>'
        f'<div class="cards">{shown}</div>{f"<ul>{details}</ul>" if details else ""}'
        f'<p class="note">{verdict["entries"]:,} journal entries replayed, and compared with what '
        f"callers were told and with the mock provider's own count: {provider['requests']:,} calls,"
        f" {provider['answers']:,} of them answered.</p></section>"
    )


def _cards(report: Mapping[str, Any]) -> str:
    executions, latency = report["executions"], report["latency_ms"]
    cpu = report["cpu_ms_per_execution"]
    tiles = [
        (f"{executions['ended']:,}", "executions"),
        (f"{executions['per_second']:,}", "a second"),
        (_ms(latency["p50"]), "latency, median"),
        (_ms(latency["p99"]), "latency, 99th percentile"),
        (_share(executions["model"], executions["ended"]), "answered by the model"),
        (credits_text(report["credits"].get("charged_mc", 0) // 1000 * 1000), "credits charged"),
        *((f"{value:g} ms", f"CPU an execution, {name}") for name, value in cpu.items()),
    ]
    return "".join(
        f'<div class="card"><b>{text}</b><span>{name}</span></div>' for text, name in tiles
    )


def _charts(report: Mapping[str, Any]) -> list[str]:
    intervals, samples = report["intervals"], report["samples"]
    every_s = report["interval_s"]
    times_s = [one["at_s"] for one in intervals]
    sampled_s = [one["at_s"] for one in samples]

    def percentile(name: str) -> Line:
        return Line(name.replace("_", "."), [one["latency_ms"][name] for one in intervals])

    def of_credits(name: str, shown: str) -> Line:
        values = [one["credits"] and one["credits"][name] / 1000 for one in samples]
        return Line(shown, values)

    ended = report["executions"]["ended"]
    reasons = [(name.replace("_", " "), count) for name, count in report["reasons"].items()]
    return [
        Chart(
            "Throughput",
            "executions a second",
            "By what they ended with.",
            times_s,
            [
                Line(shown, [one[name] / every_s for one in intervals])
                for name, shown in _STATUS_NAMES.items()
            ],
            _plain,
            stacked=True,
        ).html(),
        Chart(
            "Latency",
            "ms, logarithmic",
            "From when an execution was to start, to its end.",
            times_s,
            [percentile(name) for name in ("p50", "p95", "p99", "max")],
            _plain,
            logarithmic=True,
        ).html(),
        Chart(
            "Credits",
            "",
            "Of all accounts together.",
            sampled_s,
            [
                of_credits("available_mc", "available"),
                of_credits("reserved_mc", "reserved"),
                of_credits("charged_mc", "charged"),
            ],
            _short,
        ).html(),
        bars("Reasons", "Executions with fallback values, by reason.", reasons, ended),
        Chart(
            "CPU",
            "cores",
            "Busy cores.",
            sampled_s,
            _by_name(samples, "cores", lambda value: value),
            _plain,
        ).html(),
        Chart(
            "Memory",
            "MB",
            "Redis' data, and what processes have in memory.",
            sampled_s,
            _by_name(samples, "memory_bytes", lambda value: value / _MEGABYTE),
            _plain,
        ).html(),
    ]


def _by_name(
    samples: Sequence[Mapping[str, Any]], field: str, shown: Callable[[float], float]
) -> list[Line]:
    names = list(dict.fromkeys(name for one in samples for name in one[field]))
    return [
        Line(name, [shown(one[field][name]) if name in one[field] else None for one in samples])
        for name in names
    ]


def _settings(report: Mapping[str, Any]) -> str:
    settings, latency = report["settings"], report["latency_ms"]
    rows = {
        "Load": load_text(settings),
        "Duration": f"{settings['seconds']:g} s",
        "Planned, started, not started": (
            f"{_or_dash(report['executions']['planned'])}, {report['executions']['started']:,}, "
            f"{report['executions']['unstarted']:,}"
        ),
        "Processes": f"{settings['processes']}",
        "Skew of the accounts (Zipf)": f"{settings['skew']:g}",
        "Tokens of a prompt": str(settings["prompt_tokens"]),
        "Tokens of an answer": str(settings["answer_tokens"]),
        "Scenario": settings["scenario"],
        "Top-ups": f"{report['credits']['top_ups']:,}",
        "Mock provider's latency": (
            f"{settings['latency_ms']:g} ms median, sigma {settings['latency_sigma']:g}"
        ),
        "Faults": (
            f"errors {settings['error_rate']:.1%}, malformed {settings['malformed_rate']:.1%}, "
            f"refusals {settings['refusal_rate']:.1%}, no usage "
            f"{settings['usage_missing_rate']:.1%}"
        ),
        "Answers of the mock provider": ", ".join(
            f"{name} {count:,}" for name, count in report["provider"]["outcomes"].items()
        ),
        "Latency": ", ".join(f"{name.replace('_', '.')} {_ms(latency[name])}" for name in latency),
        "Started late by": (
            f"{_ms(report['start_delay_ms']['p50'])} median, "
            f"{_ms(report['start_delay_ms']['p99'])} 99th percentile"
        ),
        "System": ", ".join(
            f"{name} {value}" for name, value in report["system"].items() if value is not None
        ),
    }
    cells = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(str(value))}</td></tr>'
        for name, value in rows.items()
    )
    return f"<table><tbody>{cells}</tbody></table>"


def _or_dash(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"


def _ms(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.3g} ms"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def _plain(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def _short(value: float) -> str:
    for size, letter in ((1_000_000_000, "G"), (1_000_000, "M"), (10_000, "k")):
        if value >= size:
            return f"{value / (1_000 if letter == 'k' else size):.3g} {letter}"
    return _plain(value)
