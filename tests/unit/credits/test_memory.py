"""What a process remembers of the accounts that it was told of."""

from __future__ import annotations

from runtime.credits.memory import MOST_REMEMBERED, Memory
from tests.harness.bounds import assert_linear, cpu_s, peak_bytes


def test_law_1a_the_later_answer_is_remembered_in_whichever_order_they_are_heard() -> None:
    memory = Memory()
    memory.note("acme", b"e1\t9\taa")
    memory.note("acme", b"e1\t10\tbb")
    memory.note("acme", b"e1\t9\taa")
    assert memory.of("acme") == b"e1\t10\tbb"


def test_a_new_epoch_takes_the_place_of_the_old_one() -> None:
    memory = Memory()
    memory.note("acme", b"e1\t10\tbb")
    memory.note("acme", b"e2\t3\tcc")
    memory.note("acme", b"")
    assert memory.of("acme") == b"e2\t3\tcc"


def test_law_15_the_accounts_that_were_not_used_for_longest_are_forgotten() -> None:
    memory = Memory(most=2)
    for account_id in ("a", "b", "a", "c"):
        memory.note(account_id, b"e1\t1\taa")
    assert [memory.of(account_id) for account_id in "abc"] == [b"e1\t1\taa", b"", b"e1\t1\taa"]


def remember(accounts: int) -> Memory:
    memory = Memory()
    for number in range(accounts):
        memory.note(f"an-account-with-a-long-name-{number}", b"AbCd\t%d\t0123456789ab" % number)
    return memory


def test_law_15_remembering_accounts_takes_at_most_20_mb() -> None:
    assert peak_bytes(lambda: remember(MOST_REMEMBERED + 1_000)) < 20_000_000
    assert cpu_s(lambda: remember(1_000)) < 0.050
    assert_linear(lambda size: size, remember, 5_000)
