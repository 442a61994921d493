"""Sentences that people read: about limits, reasons, amounts."""

from __future__ import annotations

import pytest

from fallback.reasons import FallbackReason
from providers.pacing.queue import Bottleneck
from runtime.actions.requests import EndpointRefusal
from runtime.credits.caps import Cap, CapStatus, CapWindow
from runtime.wording.accounts import conflict_text
from runtime.wording.amounts import duration_text
from runtime.wording.caps import CAP_WINDOWS, cap_reached_text, cap_text, switched_off_text
from runtime.wording.reasons import REASONS, no_turn_text, provider_down_text, refused_text

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS


def test_every_reason_and_every_window_has_its_words() -> None:
    assert set(REASONS) == set(FallbackReason)
    assert set(CAP_WINDOWS) == set(CapWindow)
    assert len({no_turn_text(wait) for wait in Bottleneck}) == len(Bottleneck)


@pytest.mark.parametrize(
    "probe_in_ms, retry",
    [
        (0, "a new attempt is under way"),
        (1, "the next attempt is in 1 s"),
        (1_001, "the next attempt is in 2 s"),
    ],
)
def test_a_provider_that_is_down_is_said_to_be_tried_again(probe_in_ms: int, retry: str) -> None:
    assert provider_down_text("writer", probe_in_ms).endswith(f"; {retry}")


@pytest.mark.parametrize(
    "status, check",
    [
        (401, "endpoints.openai.api_key"),
        (403, "endpoints.openai.api_key"),
        (404, "models.writer.litellm_model"),
    ],
)
def test_a_refusal_is_said_with_status_endpoint_and_what_to_check(status: int, check: str) -> None:
    said = refused_text(EndpointRefusal("openai", status), "writer")
    assert said.startswith(f"HTTP {status} from endpoint openai: ")
    assert f"; check {check}" in said


@pytest.mark.parametrize(
    "cap, words",
    [
        (Cap(CapWindow.TOTAL), "2,500.5 credits in total for the account"),
        (Cap(CapWindow.DAY, action="route"), "2,500.5 credits a day for action route"),
        (
            Cap(CapWindow.MONTH, "w", "c", "a", "live"),
            "2,500.5 credits a month for workspace w, campaign c, action a, source live",
        ),
    ],
)
def test_a_cap_is_named_by_limit_window_and_what_it_counts(cap: Cap, words: str) -> None:
    assert cap_text(cap, 2_500_500) == words


def test_a_cap_that_was_reached_is_told_with_its_figures() -> None:
    daily = CapStatus(Cap(CapWindow.DAY), 10_000, 8_500, 1_250, 90 * MINUTE_MS)
    assert cap_reached_text(daily) == (
        "the cap of 10 credits a day for the account: 8.5 charged, 1.25 reserved; "
        "it resets in 1 h 30 min"
    )
    for_ever = CapStatus(Cap(CapWindow.TOTAL), 10_000, 10_000, 0, None)
    assert cap_reached_text(for_ever).endswith("10 charged, 0 reserved")


@pytest.mark.parametrize(
    "duration_ms, words",
    [
        (0, "under 1 min"),
        (MINUTE_MS - 1, "under 1 min"),
        (MINUTE_MS, "1 min"),
        (HOUR_MS - 1, "59 min"),
        (HOUR_MS + 59_999, "1 h"),
        (DAY_MS - 1, "23 h 59 min"),
        (DAY_MS + 30 * MINUTE_MS, "1 d"),
        (30 * DAY_MS + 5 * HOUR_MS, "30 d 5 h"),
    ],
)
def test_durations_have_two_units_at_most(duration_ms: int, words: str) -> None:
    assert duration_text(duration_ms) == words


@pytest.mark.parametrize(
    "field, stored, use",
    [
        ("amount_mc", "2500125", "for 2,500.125 credits"),
        ("limit_mc", "20000000", "with a limit of 20,000"),
        ("limit_mc", "none", "to remove this cap"),
        ("on", "1", "to switch it on"),
        ("on", "0", "to switch it off"),
        ("kind", "adjustment", "with kind adjustment"),
    ],
)
def test_a_reused_reference_is_told_by_its_first_use(field: str, stored: str, use: str) -> None:
    found = conflict_text("ref-1", field, stored)
    assert found == f"reference 'ref-1' was used before, {use}; choose another one"


def test_what_is_switched_off_is_listed() -> None:
    assert switched_off_text(()) == "Nothing is switched off."
    found = switched_off_text(("account", "workspace retail"))
    assert found.startswith("Switched off: account, workspace retail.")
