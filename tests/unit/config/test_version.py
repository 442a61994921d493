"""A configuration has a version, which differs where two processes would act differently."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runtime.config.version import config_version
from tests.harness.configs import changed, load, right


def version(data: dict[str, Any], **around: Any) -> str:
    return config_version(load(data, **around))


@pytest.mark.parametrize(
    "path, value",
    [
        ("actions.greet.user", "Greet {{ customer.name }} warmly"),
        ("actions.greet.outputs.text.fallback", "Hi"),
        ("rate_cards.0.rates.writer.output", 2001),
        ("rate_cards.0.effective_from", "2026-01-02"),
        ("models.writer.litellm_model", "openai/y"),
        ("endpoints.mock.max_concurrency", 3),
        ("plans.growth.ai_credits", False),
        ("executions.wait_for_credits_ms", 1),
        ("alerts.low_percent", 21),
        ("compliance_prompt", "Be lawful."),
    ],
)
def test_what_changes_executions_or_charges_changes_the_version(path: str, value: Any) -> None:
    assert version(changed(path, value)) != version(right())


def test_what_is_of_the_host_alone_does_not() -> None:
    data = changed("redis.url", "redis://127.0.0.1:1")
    data["data_dir"] = "elsewhere"
    assert version(data, base_dir=Path("other")) == version(right())


def test_a_default_that_is_written_out_and_another_order_of_names_do_not() -> None:
    data = changed("executions.outcome_ttl_hours", 168)
    data["plans"]["trial"] = {"ai_credits": False}
    turned = {**data, "plans": dict(reversed(data["plans"].items()))}
    del turned["executions"]
    assert version(data) == version(turned)


def test_no_value_of_a_secret_has_a_part_in_it() -> None:
    data = changed("endpoints.mock.api_key", {"env": "KEY"})
    data["endpoints"]["mock"]["proxy"] = {"env": "PROXY"}
    data["installation_key"] = {"env": "INSTALLATION"}
    data["redis"] = {"url": "redis://localhost:1", "password": {"env": "KEY"}}
    found = {
        version(
            data,
            environ={
                "KEY": f"key-{letter}",
                "PROXY": f"http://user:{letter}@proxy.example:80",
                "INSTALLATION": letter * 20,
            },
        )
        for letter in "abc"
    }
    assert len(found) == 1
