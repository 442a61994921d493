from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback.reasons import FallbackReason
from pricing.usage import TokenUsage
from runtime.credits.identity import Dimensions
from runtime.credits.journal import (
    JournalEntry,
    JournalError,
    Kind,
    Part,
    Posting,
    chain_of,
    choices_column,
    parse,
    replay,
    tokens_column,
    verify,
)

SETTLED = (
    "1\tab12\ts\t1700000005000\tKEY\tg1:rc:700,g1:ra:300,g2:ac:50\t2500\t"
    "3\t120,20,5,30,10\t2026-01\tlate,quote_exceeded\t\t7\t9"
)


RETAIL = Dimensions("retail", "welcome", "route", "v1", "writer", "live")
NAMED = "1\tab12\tn\t5\t\t\t\t3" + "\t" * 10 + "retail\twelcome\troute\tv1\twriter\tlive"


def sha1(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def entry(body: str, seq: int = 1, previous: str = "") -> JournalEntry:
    fields = {b"e": body.encode(), b"c": chain_of(previous, body).encode()}
    return parse(f"0-{seq}", fields, {3: RETAIL})


def entries(*bodies: str) -> list[JournalEntry]:
    """Entries that continue each other."""
    found: list[JournalEntry] = []
    for seq, body in enumerate(bodies, start=1):
        found.append(entry(body, seq, found[-1].chain if found else ""))
    return found


def test_a_settlement_is_read_with_all_its_columns() -> None:
    found = entry(SETTLED, seq=4)

    assert (found.epoch, found.seq, found.kind) == ("ab12", 4, Kind.SETTLED)
    assert (found.at_ms, found.effective_at_ms) == (1700000005000, 1700000005000)
    assert found.reserved_at_ms == 1700000002500
    assert found.execution_key == "KEY"
    assert found.postings == (
        Posting("g1", Part.RESERVED, Part.CHARGED, 700),
        Posting("g1", Part.RESERVED, Part.AVAILABLE, 300),
        Posting("g2", Part.AVAILABLE, Part.CHARGED, 50),
    )
    assert found.slices == {"g1": 1000}
    assert found.dimensions == RETAIL
    assert found.tokens == TokenUsage(120, 30, 20, 5, 10)
    assert found.flags == ("late", "quote_exceeded")
    assert (found.rate_card_version, found.overage_mc, found.exposure_mc) == ("2026-01", 7, 9)
    assert (found.reason, found.actor, found.reference, found.detail) == (None, "", "", ())


def test_dimensions_are_known_by_the_number_that_an_earlier_entry_gave_them() -> None:
    names: dict[int, Dimensions] = {}

    named = parse("0-1", {b"e": NAMED.encode(), b"c": b""}, names)
    found = parse("0-2", {b"e": SETTLED.encode(), b"c": b""}, names)

    assert (named.kind, named.dimensions, found.dimensions) == (Kind.NAMED, RETAIL, RETAIL)
    with pytest.raises(JournalError, match="0-2"):
        parse("0-2", {b"e": SETTLED.encode(), b"c": b""}, {})


def test_an_entry_without_an_execution_has_no_dimensions() -> None:
    found = entry("1\tab12\tg\t5\t\tg1:na:10" + "\t" * 10 + "csm\tpayment-1\tplan;30;0")

    assert (found.dimensions, found.tokens, found.reserved_at_ms) == (None, None, None)
    assert (found.actor, found.reference, found.detail) == ("csm", "payment-1", ("plan", "30", "0"))


def test_a_refusal_says_why() -> None:
    found = entry("1\tab12\tf\t5\tKEY\t\t\t3\t\t\t\tinsufficient_credits")

    assert found.reason is FallbackReason.INSUFFICIENT_CREDITS
    assert replay([found]).grants == {}


def test_a_settlement_of_version_2_tells_why_outputs_fell_back_and_what_was_chosen() -> None:
    found = entry("2\tab12\ts\t5" + "\t" * 8 + "output_invalid" + "\t" * 6 + "30;0.2,3.11")
    assert found.reason is FallbackReason.OUTPUT_INVALID
    assert (found.free_mc, found.choices) == (30, ((0, 2), (3, 11)))
    assert entry("2\tab12\ts\t5" + "\t" * 14 + ";0.2").free_mc == 0
    assert entry("2\tab12\ts\t5" + "\t" * 14 + "30").choices == ()
    assert entry("1\tab12\ts\t5" + "\t" * 14 + "30").free_mc == 30


def test_choices_are_written_as_they_are_read() -> None:
    choices = ((0, 2), (3, 11))
    found = entry("2\tab12\ts\t5" + "\t" * 14 + ";" + choices_column(choices))
    assert found.choices == choices


@pytest.mark.parametrize(
    "body",
    [
        "",
        "not an entry",
        "3\tab12\ts\t5",
        "2\tab12\ts\t5" + "\t" * 14 + "much",
        "2\tab12\ts\t5" + "\t" * 14 + ";1",
        "2\tab12\ts\t5" + "\t" * 14 + ";1.2.3",
        "2\tab12\ts\t5" + "\t" * 14 + ";1.-2",
        "2\tab12\ts\t5" + "\t" * 14 + ";1.2;3",
        "2\tab12\ts\t5" + "\t" * 8 + "invented",
        "1\tab12\tinvented\t5",
        "1\tab12\ts\tlater",
        "1\tab12\ts\t5\tKEY\tg1:xy:5",
        "1\tab12\ts\t5\tKEY\tg1:rc:many",
        "1\tab12\ts\t5\tKEY\tg1:rcx:5",
        SETTLED + "\t" * 10,
    ],
)
def test_a_damaged_or_newer_entry_is_refused_by_its_name(body: str) -> None:
    with pytest.raises(JournalError, match="journal entry 0-7"):
        parse(b"0-7", {b"e": body.encode(), b"c": b""}, {3: RETAIL})


def test_an_entry_without_its_fields_is_refused_by_its_name() -> None:
    with pytest.raises(JournalError, match="journal entry 0-7"):
        parse("0-7", {b"e": SETTLED.encode()}, {3: RETAIL})


def test_the_chain_is_the_head_of_a_sha1_over_the_one_before_and_the_body() -> None:
    first = chain_of("", "body ☹ ü")

    assert first == sha1("body ☹ ü")[:12]
    assert chain_of(first, "next") == sha1(first + "next")[:12]


GRANTED = "1\tab12\tg\t5\t\tg1:na:1000"
EXPIRED = "1\tab12\te\t6\tKEY\tg1:ra:100\t1\t3"
PAID = "1\tab12\ts\t7\tKEY\tg1:rc:60,g1:ra:40\t1\t3"


@given(st.integers(0, 2), st.integers(0, 200))
def test_law_2c_a_changed_entry_breaks_the_chain_and_is_named(position: int, at: int) -> None:
    sound = entries(GRANTED, EXPIRED, PAID)
    verify(sound)
    body = sound[position].body
    at %= len(body)
    changed = body[:at] + ("8" if body[at] != "8" else "9") + body[at + 1 :]
    try:
        forged = parse(
            f"0-{position + 1}",
            {b"e": changed.encode(), b"c": sound[position].chain.encode()},
            {3: RETAIL},
        )
    except JournalError:
        return

    with pytest.raises(JournalError, match=f"0-{position + 1}: chain"):
        verify([*sound[:position], forged, *sound[position + 1 :]])


@pytest.mark.parametrize("missing", [0, 1])
def test_law_2c_a_missing_entry_is_named(missing: int) -> None:
    found = entries(GRANTED, EXPIRED, PAID)
    del found[missing]

    with pytest.raises(JournalError, match=f"0-{missing + 1} is missing"):
        verify(found)


def test_a_journal_can_be_verified_from_where_it_was_cut_off() -> None:
    found = entries(GRANTED, EXPIRED, PAID)

    verify(found[1:], previous=found[0].chain, seq=1)
    with pytest.raises(JournalError, match="0-2: chain"):
        verify(found[1:], previous="0" * 16, seq=1)


def test_law_2c_replay_rebuilds_the_parts_by_postings_alone() -> None:
    books = replay(entries(GRANTED, EXPIRED, PAID))

    assert books.grants["g1"].amount_mc == 1000
    assert books.grants["g1"].parts_mc == {
        Part.AVAILABLE: 940,
        Part.RESERVED: 0,
        Part.CHARGED: 60,
        Part.EXPIRED: 0,
        Part.VOIDED: 0,
    }


def test_replay_refuses_an_entry_that_takes_more_than_is_there() -> None:
    too_much = "1\tab12\ts\t7\tKEY\tg1:rc:1001\t1\t3"

    with pytest.raises(JournalError, match=r"0-2: .*more than is there"):
        replay(entries(GRANTED, too_much))


@pytest.mark.parametrize(
    "usage, column",
    [
        (TokenUsage(120, 30, 20, 5, 10), "120,20,5,30,10"),
        (TokenUsage(470, 30), "470,,,30"),
        (TokenUsage(0, 0), "0"),
    ],
)
def test_tokens_are_written_without_their_zeros_and_read_with_them(
    usage: TokenUsage, column: str
) -> None:
    assert tokens_column(usage) == column
    assert entry(SETTLED.replace("120,20,5,30,10", column)).tokens == usage
