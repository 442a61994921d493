"""The engine's client is set as the config's ``redis`` section says."""

from __future__ import annotations

import ssl
from typing import Any

from pydantic import SecretStr

from runtime.config.sections import RedisSection, SentinelSection
from runtime.worker.connecting import streaq_options


def with_password(section: Any, password: str) -> Any:
    """Return a section with a password; a config has a reference to it."""
    return section.model_copy(update={"password": SecretStr(password)})


def test_user_password_and_time_out_of_a_server_count() -> None:
    section = with_password(
        RedisSection(url="redis://host:6380/3", username="worker", timeout_ms=700), "secret"
    )
    options = streaq_options(section, section.url)
    assert options["redis_url"] == "redis://host:6380/3"
    assert options["redis_kwargs"] == {
        "connect_timeout": 0.7,
        "username": "worker",
        "password": "secret",
    }


def test_tls_is_checked_unless_the_url_says_otherwise() -> None:
    section = RedisSection(url="rediss://host:6380/3")
    context = streaq_options(section, section.url)["redis_kwargs"]["ssl_context"]
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    section = RedisSection(url="rediss://host/0?ssl_cert_reqs=none")
    options = streaq_options(section, section.url)
    context = options["redis_kwargs"]["ssl_context"]
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)
    assert options["redis_url"] == "rediss://host/0"


def test_a_cluster_is_found_by_its_node_with_the_same_credentials() -> None:
    section = with_password(
        RedisSection(url="rediss://node:7000", cluster=True, username="worker"), "secret"
    )
    options = streaq_options(section, section.url)
    assert options["cluster_nodes"] == [("node", 7000)]
    assert options["redis_kwargs"]["username"] == "worker"
    assert options["redis_kwargs"]["ssl_context"].check_hostname


def test_sentinels_have_credentials_of_their_own() -> None:
    sentinel = with_password(
        SentinelSection(master="main", nodes=["one:26379", "two"], tls=True), "theirs"
    )
    section = with_password(RedisSection(sentinel=sentinel), "ours")
    options = streaq_options(section, section.url)
    assert options["sentinel_nodes"] == [("one", 26379), ("two", 26379)]
    assert options["sentinel_master"] == "main"
    assert options["sentinel_kwargs"]["password"] == "theirs"
    assert options["redis_kwargs"]["password"] == "ours"
    assert options["redis_kwargs"]["ssl_context"] is options["sentinel_kwargs"]["ssl_context"]
