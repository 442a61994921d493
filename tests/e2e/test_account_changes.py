"""What operators take back, cap, switch off and close from the command line."""

from __future__ import annotations

from tests.harness.command_line import Ended, Home

ACCOUNT = ("--account", "acme")
RUN = ("run", *ACCOUNT, "--action", "route_message", "--workspace", "retail", "--people")


def done(ended: Ended) -> Ended:
    assert ended.status == 0, ended.stderr
    return ended


def shown(home: Home) -> str:
    """What ``balance`` shows, with one space where there are many."""
    return " ".join(done(home.invoke("balance", *ACCOUNT)).stdout.split())


def test_a_grant_is_taken_back_by_the_id_that_the_balance_shows(home: Home) -> None:
    home.open_account("acme", amount_mc=5_000_000)
    grant = ("grant", *ACCOUNT, "--kind", "promotional", "--credits", "300.5")
    done(home.invoke(*grant, "--reference", "spring"))
    found = done(home.invoke("balance", *ACCOUNT, "--json")).json
    [spring] = [g["grant_id"] for g in found["grants"] if g["reference"] == "spring"]

    void = ("void", *ACCOUNT, "--grant", spring, "--reference", "v-1", "--reason", "a mistake")
    taken = done(home.run(*void, "--actor", "ann"))
    assert f"300.5 credits of grant {spring} were taken back." in taken.stdout
    assert "Available: 5,000" in taken.stdout
    again = done(home.invoke(*void))
    assert "v-1 was used for this before; nothing was changed" in again.stdout
    assert done(home.invoke(*void, "--json")).json == {
        "account_id": "acme",
        "grant_id": spring,
        "amount_mc": 300_500,
        "available_mc": 5_000_000,
        "new": False,
    }

    text = shown(home)
    assert "voided 300.5 taken back" in text
    assert f"{spring} spring promotional 300.5 0 0 0 300.5 voided " in text
    assert home.balance("acme").conserved


def test_a_cap_holds_a_campaign_until_it_is_raised_or_removed(home: Home) -> None:
    home.open_account("acme", amount_mc=100_000_000)
    named = (*ACCOUNT, "--window", "month", "--workspace", "retail", "--source", "live")
    cap_set = done(home.run("cap", "set", *named, "--limit", "0", "--reference", "c-1"))
    assert "0 credits a month for workspace retail, source live" in cap_set.stdout

    capped = done(home.invoke(*RUN, home.people(5), "--out", "out.jsonl"))
    assert "5 a spending cap was reached" in " ".join(capped.stdout.split())
    for result in home.results("out.jsonl").values():
        assert result["origins"]["intent"]["reason"] == "cap_reached"
        assert "0 credits a month for workspace retail" in result["detail"]
    # Another source is not counted, and so not held.
    assert done(home.invoke(*RUN, home.people(2), "--source", "test", "--json")).json["model"] == 2

    raised = done(
        home.invoke("cap", "set", *named, "--limit", "2500.5", "--reference", "c-2", "--json")
    ).json
    assert raised["new"] is True
    [standing] = raised["caps"]
    assert standing["limit_mc"] == 2_500_500
    assert standing["charged_mc"] == standing["reserved_mc"] == standing["cap_excess_mc"] == 0
    # Those who got fallback values keep them, unless they are asked for again.
    answered = done(home.invoke(*RUN, home.people(5), "--retry-fallbacks", "--json")).json
    assert answered["model"] == 5

    [standing] = done(home.invoke("cap", "list", *ACCOUNT, "--json")).json["caps"]
    assert standing["charged_mc"] == answered["charged_mc"] > 0
    assert 0 < standing["resets_in_ms"] <= 31 * 86_400_000
    assert done(home.invoke("balance", *ACCOUNT, "--json")).json["caps"][0]["limit_mc"] == 2_500_500
    assert "workspace retail, source live 2,500.5 a month" in shown(home)

    lowered = done(
        home.invoke("cap", "set", *named, "--limit", "1", "--reference", "c-3", "--json")
    )
    [standing] = lowered.json["caps"]
    assert standing["cap_excess_mc"] == standing["charged_mc"] - 1_000

    removal = ("cap", "remove", *named, "--reference", "c-4")
    assert "The cap is removed." in done(home.invoke(*removal)).stdout
    assert "nothing was changed" in done(home.invoke(*removal)).stdout
    assert "No caps are set." in done(home.invoke("cap", "list", *ACCOUNT)).stdout
    again = ("--campaign", "again", "--json")
    assert done(home.invoke(*RUN, home.people(2), *again)).json["model"] == 2


def test_a_new_cap_may_begin_with_what_was_used_before(home: Home) -> None:
    home.open_account("acme", amount_mc=1_000_000)
    setting = ("cap", "set", *ACCOUNT, "--window", "total", "--limit", "10", "--used", "7.25")
    [standing] = done(home.invoke(*setting, "--reference", "c", "--json")).json["caps"]
    assert (standing["charged_mc"], standing["resets_in_ms"]) == (7_250, None)
    assert "the account 10 in total 7.25 0 0 never" in shown(home)


def test_a_switch_stops_what_it_names_until_it_is_on_again(home: Home) -> None:
    home.open_account("acme", amount_mc=100_000_000)
    calls = home.calls()
    off = ("account", "switch", "acme", "off", "--workspace", "retail", "--reference", "s-1")
    shown_off = done(home.run(*off)).stdout
    assert "Switched off: workspace retail." in shown_off
    assert "Nothing is running there." in shown_off

    stopped = done(home.invoke(*RUN, home.people(5)))
    assert "5 the account, the workspace, the campaign or the action is switched off" in " ".join(
        stopped.stdout.split()
    )
    assert home.calls() == calls
    assert "Switched off: workspace retail" in shown(home)
    more = ("account", "switch", "acme", "off", "--campaign", "other", "--reference", "s-2")
    assert done(home.invoke(*more, "--json")).json == {
        "account_id": "acme",
        "new": True,
        "open_executions": 0,
        "open_mc": 0,
        "exact": True,
        "switched_off": ["campaign other", "workspace retail"],
    }

    on = ("account", "switch", "acme", "on", "--workspace", "retail", "--reference", "s-3")
    assert "Switched off: campaign other." in done(home.invoke(*on)).stdout
    again = ("--campaign", "again", "--json")
    assert done(home.invoke(*RUN, home.people(2), *again)).json["model"] == 2
    # The reference of the first switch does nothing any more, and that is said.
    repeated = done(home.invoke(*off)).stdout
    assert "s-1 was used for this before; nothing was changed" in repeated
    assert "workspace retail" not in repeated


def test_a_plan_without_ai_credits_keeps_them_and_one_with_them_uses_them_again(
    home: Home,
) -> None:
    home.open_account("acme", amount_mc=100_000_000)
    down = ("account", "plan", "acme", "--plan", "trial", "--reference", "p-1")
    assert "acme is on the trial plan." in done(home.run(*down)).stdout
    assert "nothing was changed" in done(home.invoke(*down)).stdout
    fell_back = done(home.invoke(*RUN, home.people(3), "--json")).json
    assert fell_back["reasons"] == {"plan_not_eligible": 3}
    assert home.balance("acme").available_mc == 100_000_000

    up = ("account", "plan", "acme", "--plan", "growth", "--reference", "p-2", "--json")
    changed = done(home.invoke(*up)).json
    assert (changed["new"], changed["balance"]["plan"]) == (True, "growth")
    again = ("--campaign", "again", "--json")
    assert done(home.invoke(*RUN, home.people(2), *again)).json["model"] == 2


def test_a_closed_account_has_nothing_left_and_its_campaigns_go_on(home: Home) -> None:
    home.open_account("acme", amount_mc=5_000_000)
    close = ("account", "close", "acme", "--reason", "cancelled", "--reference")
    closed = done(home.run(*close, "end-1"))
    assert "acme is closed." in closed.stdout
    assert "Account acme (growth plan, closed)" in closed.stdout
    assert "was already closed" in done(home.invoke(*close, "end-2")).stdout
    again = done(home.invoke("account", "open", "acme", "--plan", "growth")).stdout
    assert "acme is closed and can't be opened again." in again

    balance = home.balance("acme")
    assert (balance.available_mc, balance.voided_mc) == (0, 5_000_000)
    assert balance.conserved
    ended = done(home.invoke(*RUN, home.people(4)))
    assert "4 the account is closed" in " ".join(ended.stdout.split())


def test_an_account_moves_to_another_time_zone_once_for_a_reference(home: Home) -> None:
    home.open_account("acme", amount_mc=1_000_000)
    move = ("account", "timezone", "acme", "--timezone", "Asia/Tokyo", "--reference", "moved")

    first = done(home.invoke(*move))
    again = done(home.invoke(*move, "--json")).json
    unknown = home.invoke("account", "timezone", "acme", "--timezone", "Mars", "--reference", "m")

    assert "acme is in the time zone Asia/Tokyo." in first.stdout
    assert (again["new"], again["balance"]["timezone"]) == (False, "Asia/Tokyo")
    assert unknown.status == 2
    assert "'Mars'" in unknown.stderr
