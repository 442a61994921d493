"""What Redis is told about people: execution keys, and outcomes that end by themselves."""

from __future__ import annotations

import pytest
from redis.exceptions import ResponseError

from fallback.reasons import FallbackReason
from runtime.credits.endings import Release
from runtime.credits.identity import Identity
from runtime.credits.ledger import CreditLedger, LedgerSettings
from runtime.credits.results import LedgerError, LedgerUnavailable
from runtime.redis.primaries import Primary
from tests.harness.ledger.desk import INSTALLATION_KEY, Desk, connect, make_ledger

PERSON = "person-ada-lovelace"
EXECUTION = "journey-of-ada:step:1"
VALUE = b'{"reply": "Dear Ada, about your loan"}'


async def run_everything(desk: Desk) -> None:
    """Leave in Redis what every verb can leave there about a person."""
    await desk.open(10_000)

    def about(number: int) -> dict[str, str]:
        return {"person_id": PERSON, "execution_id": f"{EXECUTION}:{number}"}

    attempt, reserved = await desk.reserve(10, desk.attempt(**about(1)))
    await desk.settle(attempt, reserved, 5, outcome=VALUE)
    attempt, _ = await desk.reserve(10, desk.attempt(**about(2)))
    await desk.ledger.release(
        Release(attempt, FallbackReason.PROVIDER_ERROR, exposure_mc=1, outcome=VALUE)
    )
    await desk.ledger.conclude(desk.attempt(**about(3)), FallbackReason.INSUFFICIENT_CREDITS, VALUE)
    late, late_reserved = await desk.reserve(10, desk.attempt(**about(4)), ttl_ms=1_000)
    await desk.pass_time(1_000)
    await desk.reserve(10, desk.attempt(**about(4)))
    await desk.settle(late, late_reserved, 5, outcome=VALUE)
    await desk.reserve(10, desk.attempt(**about(5)), ttl_ms=500)
    await desk.pass_time(500)
    await desk.write_what_is_due()
    await desk.reserve(10, desk.attempt(**about(6)))


async def test_keys_and_records_name_no_person_and_no_execution(desk: Desk) -> None:
    await run_everything(desk)

    for name, content in (await desk.dump()).items():
        assert content is not None
        for secret in (PERSON, "lovelace", EXECUTION):
            assert secret.encode() not in name.lower()
            if b":o:" not in name:
                assert secret.encode() not in content.lower()
                assert VALUE not in content


async def test_values_are_only_in_outcomes_which_end_by_themselves(desk: Desk) -> None:
    await run_everything(desk)
    outcomes = await desk.names("*:o:*")

    assert len(outcomes) == 4
    for name in outcomes:
        assert VALUE in await desk.client.get(name)
        assert await desk.client.pttl(name) > 0
        body = (await desk.client.get(name)).removesuffix(VALUE)
        assert PERSON.encode() not in body
        assert EXECUTION.encode() not in body


async def test_an_outcome_whose_loser_was_noted_still_ends_by_itself(desk: Desk) -> None:
    await desk.open(10_000)
    loser, reserved = await desk.reserve(10, desk.attempt(EXECUTION), ttl_ms=1_000)
    await desk.pass_time(1_000)
    winner, winner_reserved = await desk.reserve(10, desk.attempt(EXECUTION))
    await desk.settle(winner, winner_reserved, 5, outcome=VALUE)
    key = desk.keys.outcome(winner.account_id, winner.execution_key)
    ttl_ms = await desk.client.pttl(key)

    await desk.settle(loser, reserved, 5)

    assert 0 < await desk.client.pttl(key) <= ttl_ms
    assert (await desk.client.get(key)).endswith(VALUE)


async def test_execution_keys_say_nothing_without_the_installation_key() -> None:
    one, other = Identity(b"k" * 32), Identity(b"l" * 32)

    assert one.execution_key("acme", EXECUTION) != other.execution_key("acme", EXECUTION)
    assert one.execution_key("acme", EXECUTION) != one.execution_key("acme2", EXECUTION)


async def test_a_process_with_another_installation_key_is_refused_at_start(desk: Desk) -> None:
    await desk.ledger.check_installation()
    await desk.ledger.check_installation()
    stranger = CreditLedger(
        desk.client, Identity(b"another installation key"), LedgerSettings(key_prefix=desk.prefix)
    )

    with pytest.raises(LedgerError, match="another installation key") as refused:
        await stranger.check_installation()

    assert not isinstance(refused.value, LedgerUnavailable)
    assert INSTALLATION_KEY.decode() not in str(refused.value)
    for value in (await desk.client.hgetall(desk.keys.installation)).values():
        assert INSTALLATION_KEY not in value


async def test_data_with_another_number_of_buckets_is_refused_at_start(desk: Desk) -> None:
    await desk.client.hset(desk.keys.installation, "buckets", "16")

    with pytest.raises(LedgerError, match="16 buckets, this release reads 1024"):
        await desk.ledger.check_installation()


@pytest.mark.parametrize("version", ["6.0.16", "5.0.7"])
async def test_a_server_that_does_not_know_all_commands_is_refused_at_start(
    desk: Desk, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def info(primary: Primary, section: str) -> dict[str, str]:
        return {"redis_version": version}

    monkeypatch.setattr(Primary, "info", info)

    with pytest.raises(LedgerError, match=rf"Redis {version}, .* 6\.2 or newer is needed"):
        await desk.ledger.check_installation()
    assert await desk.client.exists(desk.keys.installation) == 0


async def test_a_server_that_hides_its_version_is_believed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def info(primary: Primary, section: str) -> dict[str, str]:
        raise ResponseError("NOPERM this user has no permissions to run the 'info' command")

    monkeypatch.setattr(Primary, "info", info)
    await desk.ledger.check_installation()

    assert "does not tell its version" in caplog.text


async def test_a_check_of_the_installation_without_redis_is_unavailable(desk: Desk) -> None:
    nowhere = connect("unix:///nonexistent/redis.sock")
    ledger = make_ledger(nowhere, desk.prefix, timeout_ms=300)

    for call in (ledger.check_installation(), ledger.sweep(), ledger.accounts.balance("acme")):
        with pytest.raises(LedgerUnavailable):
            await call
    await nowhere.aclose()
