"""How executions and accounts are named: stable for the life of an installation."""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.credits.identity import FINGERPRINT_FIELDS, ExecutionAttempt, Identity
from runtime.redis.keys import BUCKETS, Keys, bucket_of

KEY = b"an installation key of a test"
ids = st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable())


def attempt(**changes: Any) -> ExecutionAttempt:
    fields = {
        "account_id": "acme",
        "execution_id": "journey-1:step:1",
        "workspace_id": "retail",
        "campaign_id": "welcome",
        "person_id": "person-1",
        "action": "route",
        "source": "live",
    }
    return Identity(KEY).attempt(**(fields | changes))


@given(ids)
def test_an_execution_key_is_half_an_hmac_of_account_and_id(execution_id: str) -> None:
    digest = hmac.digest(KEY, f"acme\0{execution_id}".encode(), hashlib.sha256)[:16]

    found = Identity(KEY).execution_key("acme", execution_id)

    assert found == urlsafe_b64encode(digest).decode().rstrip("=")
    assert len(found) == 22


def test_names_are_the_same_in_every_process_and_release() -> None:
    """They are stored: another value here would take every known execution for a new one."""
    found = attempt()

    assert found.execution_key == "-HsP8hk767py9um_5IEbKA"
    assert found.fingerprint == "0Yq6KvmuvBJIhSZmI-1U"
    assert Identity(KEY).check_value() == "47ad88d85a095fd88da969261adb6f66"
    assert bucket_of("acme") == 574


@pytest.mark.parametrize("position", range(5))
def test_each_dimension_changes_its_own_part_of_the_fingerprint(position: int) -> None:
    one, other = (
        attempt().fingerprint,
        attempt(**{FINGERPRINT_FIELDS[position]: "else"}).fingerprint,
    )

    differing = [part for part in range(5) if one[part * 4 :][:4] != other[part * 4 :][:4]]
    assert differing == [position]
    assert len(one) == 20


def test_attempts_on_one_id_differ_by_their_attempt_id_alone() -> None:
    one, other = attempt(), attempt()

    assert one.attempt_id != other.attempt_id
    assert (one.execution_key, one.fingerprint) == (other.execution_key, other.fingerprint)


def test_nothing_about_person_or_execution_is_legible_in_what_is_kept() -> None:
    found = attempt(person_id="ada-lovelace")

    kept = (found.execution_key, found.attempt_id, found.fingerprint, *found.dimensions)
    assert not any("ada" in text or "journey" in text for text in kept)


@pytest.mark.parametrize("field", ["workspace_id", "campaign_id", "action", "model", "source"])
@pytest.mark.parametrize("value", ["a\tb", "a\nb", "\x00"])
def test_a_dimension_that_would_break_the_journals_columns_is_refused(
    field: str, value: str
) -> None:
    with pytest.raises(ValueError, match="control character"):
        attempt(**{field: value})


@pytest.mark.parametrize(
    "field", ["execution_id", "person_id", "workspace_id", "model", "action_version"]
)
def test_text_that_can_not_be_encoded_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field}: "):
        attempt(**{field: "\ud800"})


def test_a_short_installation_key_is_refused_without_being_shown() -> None:
    with pytest.raises(ValueError, match="has 5 bytes and needs at least 16") as refused:
        Identity(b"short")
    assert "short" not in str(refused.value)


@given(st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True))
def test_all_keys_of_an_account_share_its_buckets_hash_tag(account_id: str) -> None:
    keys = Keys("cg1")
    tag = f"{{b{bucket_of(account_id)}}}"
    names = [*keys.of_account(account_id), keys.outcome(account_id, "K" * 22)]

    assert 0 <= bucket_of(account_id) < BUCKETS
    assert len(set(names)) == 15
    for name in names:
        assert name.startswith(f"cg1:{tag}:")
        assert name.count("{") == name.count("}") == 1


def test_no_two_accounts_share_a_key_of_their_own() -> None:
    keys = Keys("cg1")
    accounts = ["a", "a.b", "due", "news", "o", "account", "a-o"]
    owned = [name for account in accounts for name in keys.of_account(account)[:10]]

    assert len(set(owned)) == len(owned)
    assert not {keys.bucket(bucket_of(a), "due") for a in accounts} & set(owned)
