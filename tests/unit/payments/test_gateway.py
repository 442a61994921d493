"""Stripe's events, as far as they are verified and read."""

from __future__ import annotations

import json

import pytest

from runtime.payments.errors import EventUnreadable, SignatureRefused
from runtime.payments.stripe_gateway import StripeGateway
from runtime.payments.stripe_http import OneHost
from tests.harness.bounds import assert_cpu, assert_linear, peak_bytes
from tests.harness.payments import section
from tests.harness.stripe import signed

MOST_BYTES = 1024 * 1024
"""The largest body of the service's routes."""


def gateway() -> StripeGateway:
    return StripeGateway(section("http://127.0.0.1:1"), "here", OneHost())


def event_of(size: int) -> tuple[bytes, str]:
    """A signed event of about so many bytes, of 20,000 values at most."""
    count = size // 64
    items = [{"id": f"{number:044}"} for number in range(count)]
    event = {"id": "evt_1", "type": "x", "livemode": False, "data": {"object": {"items": items}}}
    return signed(json.dumps(event).encode())


def test_law_15_an_event_at_its_bound_takes_less_than_50_ms_of_cpu_and_16_mb() -> None:
    body, signature = event_of(MOST_BYTES)
    verify = gateway().verify
    assert_cpu(lambda: verify(body, signature), 0.05)
    assert peak_bytes(lambda: verify(body, signature)) < 16 * 1024 * 1024


def test_law_15_an_event_of_twice_the_size_takes_about_twice_the_time() -> None:
    verify = gateway().verify
    assert_linear(event_of, lambda event: verify(*event), MOST_BYTES // 4)


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_law_15_an_event_that_is_nested_without_end_is_refused(opening: bytes) -> None:
    body, signature = signed(opening * (MOST_BYTES // len(opening)))
    with pytest.raises(EventUnreadable):
        gateway().verify(body, signature)


def test_a_header_of_any_form_is_refused() -> None:
    body, _ = event_of(1_000)
    for header in (
        "t=1",
        "t=,v1=",
        "v1=a,t=1",
        "t=1,t=2,v1=a",
        ",",
        "=",
        "t=1,v1=" + "é",
        "t" * 9_999,
    ):
        with pytest.raises(SignatureRefused):
            gateway().verify(body, header)
