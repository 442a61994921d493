"""Ids of tickets, and the ones that follow."""

from __future__ import annotations

from runtime.worker.tickets import MOST_OF_AN_ACCOUNT, Ticket


def test_a_ticket_is_read_from_its_id_whatever_the_account_is_called() -> None:
    for account_id in ("acme", "a.b-c_d", "7"):
        ticket = Ticket(account_id, 12)
        assert Ticket.read(str(ticket)) == ticket


def test_the_tickets_that_follow_are_each_number_once_and_no_more_than_the_most() -> None:
    seen, issued = {0}, [Ticket("acme")]
    while issued:
        following = [one for ticket in issued for one in ticket.following()]
        numbers = [ticket.number for ticket in following]
        assert seen.isdisjoint(numbers)
        assert len(set(numbers)) == len(numbers)
        seen.update(numbers)
        issued = following
    assert seen == set(range(MOST_OF_AN_ACCOUNT))
