"""All benchmarks, in the order in which they run."""

from __future__ import annotations

from providers.base import ModelRoute
from tests.bench import (
    adaptive,
    archive_bytes,
    archive_rate,
    audit_rate,
    campaign_ratio,
    gate_own_share,
    gate_tax,
    help_start,
    http_cost,
    ledger_flat,
    ledger_lone_caller,
    ledger_memory,
    ledger_script_time,
    ledger_start,
    ledger_throughput,
    ledger_vs_postgres,
    token_count_share,
    usage_report,
    vs_litellm_proxy,
)
from tests.bench.registry import Benchmark

BENCHMARKS = (
    Benchmark("help_start", "ratio", help_start.measure, at_most=8),
    Benchmark("ledger_start", "CPU s", ledger_start.measure, at_most=0.5),
    Benchmark("direct_gate_tax", "ratio", gate_tax.measure_direct, at_most=0.20),
    Benchmark("gate_own_share", "share", gate_own_share.measure, at_most=0.06),
    Benchmark("gate_tax", "ratio", lambda: gate_tax.measure(prompt_tokens=300), at_most=1.15),
    Benchmark("gate_tax_1000", "ratio", lambda: gate_tax.measure(prompt_tokens=1_000)),
    Benchmark("token_count_share", "share", token_count_share.measure, at_most=0.05),
    Benchmark(
        "direct_campaign_ratio",
        "ratio",
        lambda: campaign_ratio.measure(latency_ms=5, route=ModelRoute.AUTO),
        at_least=4,
    ),
    Benchmark(
        "campaign_ratio",
        "ratio",
        lambda: campaign_ratio.measure(latency_ms=120, route=ModelRoute.ACOMPLETION),
        at_least=0.85,
    ),
    Benchmark("http_ratio", "ratio", http_cost.measure_ratio, at_least=0.8),
    Benchmark("http_added_cpu", "share", http_cost.measure_added_cpu, at_most=0.25),
    Benchmark("vs_litellm_proxy", "ratio", vs_litellm_proxy.measure, at_least=8),
    Benchmark("adaptive_reserved_ratio", "ratio", adaptive.measure_reserved, at_most=0.5),
    Benchmark("truncated_answers", "share", adaptive.measure_truncated, at_most=0.005),
    Benchmark("ledger_batching", "ratio", ledger_throughput.measure_batching, at_least=5),
    Benchmark("ledger_pairs", "pairs/s", ledger_throughput.measure_pairs, at_least=15_000),
    Benchmark("ledger_lone_caller", "ratio", ledger_lone_caller.measure, at_most=1.1),
    Benchmark("ledger_flat_accounts", "ratio", ledger_flat.measure_accounts, at_most=1.5),
    Benchmark("ledger_flat_reservations", "ratio", ledger_flat.measure_reservations, at_most=1.1),
    Benchmark("ledger_flat_grants", "ratio", ledger_flat.measure_grants, at_most=2),
    Benchmark("ledger_script_p99_ms", "ms", ledger_script_time.measure, at_most=3),
    Benchmark("ledger_memory", "bytes", ledger_memory.measure, at_most=450),
    Benchmark("archive_bytes", "bytes", archive_bytes.measure),
    Benchmark("audit_rate", "entries/s", audit_rate.measure),
    Benchmark("ledger_vs_postgres", "ratio", ledger_vs_postgres.measure, at_least=2),
    Benchmark("archive_rate_share", "share", archive_rate.measure_share, at_least=0.25),
    Benchmark("archive_rate", "entries/s", archive_rate.measure_rate),
    Benchmark("usage_report_ms", "ms", usage_report.measure, at_most=50),
)
