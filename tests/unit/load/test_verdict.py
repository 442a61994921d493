"""Each promise that is broken is found, by books that know nothing of the load's own counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from runtime.archive.audit import Audit, Difference, LostEntries
from runtime.archive.replay import Entry
from runtime.credits.identity import Identity
from runtime.load.books import AccountBooks
from runtime.load.verdict import Calls, Told, Verdict, judge

ACCOUNT = "load-unit-0"
GRANT = ("g", "", "g1:na:1000")


def body(
    kind: str, key: str = "", postings: str = "", *, reason: str = "", exposure: str = ""
) -> str:
    columns = ["2", "ep", kind, "1", key, postings, "", "", "", "", "", reason, "", exposure]
    return "\t".join(columns)


def settled(key: str, amount: int) -> tuple[str, str, str]:
    return ("s", key, f"g1:rc:{amount},g1:ra:5")


def books_of(*entries: tuple[str, str, str], reserved_mc: int = 0) -> AccountBooks:
    books = AccountBooks(ACCOUNT)
    for seq, (kind, key, postings) in enumerate(entries, 1):
        books.add(Entry(seq, "", body(kind, key, postings)))
    books.reserve(reserved_mc)
    return books


def verdict_on(
    books: AccountBooks,
    told: Mapping[str, int],
    answers: int,
    audit: Audit | None = None,
) -> Verdict:
    return judge([books], Told({ACCOUNT: told}), Calls(answers, answers, answers), audit or Audit())


def found(verdict: Verdict) -> Sequence[int]:
    return (
        verdict.overspent_mc,
        verdict.leaks,
        verdict.double_charges,
        verdict.lost_settlements,
        verdict.differences,
    )


def test_books_that_agree_with_callers_and_provider_hold() -> None:
    verdict = verdict_on(
        books_of(GRANT, settled("a", 300), settled("b", 700)), {"a": 300, "b": 700}, 2
    )
    assert verdict.holds
    assert found(verdict) == (0, 0, 0, 0, 0)
    assert verdict.details == []


def test_charges_beyond_all_grants_are_overspent_even_if_a_later_grant_covers_them() -> None:
    later = ("g", "", "g2:na:1000")
    books = books_of(GRANT, settled("a", 600), settled("b", 700), later)
    verdict = verdict_on(books, {"a": 600, "b": 700}, 2)
    assert found(verdict) == (300, 0, 0, 0, 0)


def test_what_is_reserved_at_the_end_leaks_and_counts_as_spent() -> None:
    verdict = verdict_on(books_of(GRANT, settled("a", 800), reserved_mc=300), {"a": 800}, 1)
    assert found(verdict) == (100, 1, 0, 0, 0)


def test_a_reservation_that_only_its_deadline_ended_leaks() -> None:
    verdict = verdict_on(books_of(GRANT, ("e", "a", "g1:ra:100")), {"a": 0}, 0)
    assert found(verdict) == (0, 1, 0, 0, 0)


def test_an_execution_that_is_settled_again_is_charged_twice() -> None:
    verdict = verdict_on(books_of(GRANT, settled("a", 300), settled("a", 300)), {"a": 300}, 1)
    assert found(verdict) == (0, 0, 1, 0, 0)


def test_a_settlement_without_an_answer_of_the_provider_is_a_double_charge() -> None:
    books = books_of(GRANT, settled("a", 300), settled("b", 300))
    assert found(verdict_on(books, {"a": 300, "b": 300}, 1)) == (0, 0, 1, 0, 0)


def test_a_charge_that_the_load_has_not_made_is_a_double_charge() -> None:
    books = books_of(GRANT, settled("a", 300), settled("stranger", 300))
    assert found(verdict_on(books, {"a": 300}, 2)) == (0, 0, 1, 0, 0)


@pytest.mark.parametrize("told_mc, expected", [(300, (0, 0, 1, 0, 0)), (500, (0, 0, 0, 1, 0))])
def test_another_charge_than_the_caller_was_told_is_found(
    told_mc: int, expected: Sequence[int]
) -> None:
    assert found(verdict_on(books_of(GRANT, settled("a", 400)), {"a": told_mc}, 1)) == expected


def test_a_charge_that_a_caller_was_told_and_that_is_not_booked_is_lost() -> None:
    verdict = verdict_on(books_of(GRANT, settled("a", 300)), {"a": 300, "b": 300}, 1)
    assert found(verdict) == (0, 0, 0, 1, 0)


def test_an_answer_that_the_provider_counted_and_nobody_settled_is_lost() -> None:
    verdict = verdict_on(books_of(GRANT, settled("a", 300)), {"a": 300, "b": -1}, 3)
    assert found(verdict) == (0, 0, 0, 2, 0)


def test_an_answer_that_its_caller_gave_up_is_neither_lost_nor_charged() -> None:
    books = books_of(GRANT, settled("a", 300))
    books.add(Entry(3, "", body("r", "b", "g1:ra:9", reason="provider_timeout", exposure="9")))
    assert verdict_on(books, {"a": 300, "b": 0}, 2).holds


def test_what_the_audit_finds_counts_and_what_follows_a_difference_is_not_counted_twice() -> None:
    lost = LostEntries(ACCOUNT, "ep", 4, 6)
    told = {"a": 300}
    books = books_of(GRANT, settled("a", 300))
    assert found(verdict_on(books, told, 1, Audit(lost=[lost]))) == (0, 0, 0, 3, 0)
    broken = Audit(lost=[lost], differences=[Difference(ACCOUNT, 4, "another chain")])
    assert found(verdict_on(books, told, 1, broken)) == (0, 0, 0, 0, 1)


def test_an_entry_that_can_not_be_read_is_a_difference() -> None:
    assert found(verdict_on(books_of(GRANT, ("s", "a", "g1:rc")), {}, 0))[-1] == 1


def test_what_callers_were_told_is_read_by_the_names_that_journals_have(tmp_path: Path) -> None:
    identity = Identity(b"k" * 32)
    (tmp_path / "a.tsv").write_text(f"{ACCOUNT}\tx:1\t300\n{ACCOUNT}\ty:1\t-1\n")
    told = Told.read([tmp_path / "a.tsv"], identity)
    keys = [identity.execution_key(ACCOUNT, name) for name in ("x:1", "y:1")]
    assert told.charges == {ACCOUNT: dict(zip(keys, (300, -1), strict=True))}
