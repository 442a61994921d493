"""Where a config may send requests, keys and prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import certifi
import pytest

from providers.litellm.routes import ROUTES
from runtime.config import Config, ConfigError, parse_config

ENVIRONMENT = {"KEY": "sk-1", "PROXY": "http://me:secret@proxy.example:3128"}


def parsed(
    endpoint: str = "{}", model: str = "openai/m", folder: Path | str = ".", more: str = ""
) -> Config:
    text = f"""
version: 1
plans: {{growth: {{ai_credits: true}}}}
endpoints: {{main: {endpoint}}}
models: {{quick: {{litellm_model: {model}, endpoint: main, class: quick}}}}
{more}
"""
    return parse_config(text, base_dir=folder, environ=ENVIRONMENT)


def mistake(**config: Any) -> tuple[str, str]:
    """Return the path and the message of the only mistake."""
    with pytest.raises(ConfigError) as caught:
        parsed(**config)
    [found] = caught.value.mistakes
    return found.path, found.message


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.0.1",
        "2852039166",
        "0xa9fea9fe",
        "[fe80::1]",
        "[::ffff:169.254.169.254]",
        "metadata.google.internal",
    ],
)
@pytest.mark.parametrize("key", ["api_base", "proxy"])
def test_law_16_a_link_local_address_is_refused(key: str, host: str) -> None:
    path, message = mistake(endpoint=f'{{{key}: "http://{host}/v1"}}')

    assert path == f"endpoints.main.{key}"
    assert "link-local" in message


@pytest.mark.parametrize("host", ["api.example.com", "8.8.8.8", "[2001:4860:4860::8888]"])
def test_law_16_a_key_in_the_clear_to_a_public_host_is_a_mistake(host: str) -> None:
    path, message = mistake(endpoint=f'{{api_base: "http://{host}/v1", api_key: {{env: KEY}}}}')

    assert path == "endpoints.main.api_base"
    assert "https://" in message
    assert "sk-1" not in message


@pytest.mark.parametrize(
    "endpoint",
    [
        '{api_base: "https://api.example.com/v1", api_key: {env: KEY}}',
        '{api_base: "http://api.example.com/v1"}',
        *(
            f'{{api_base: "http://{host}/v1", api_key: {{env: KEY}}}}'
            for host in (
                "127.0.0.1:8000",
                "localhost",
                "10.0.0.7",
                "192.168.1.2",
                "[::1]",
                "[fd00::1]",
                "vllm",
                "vllm.models.svc",
                "gpu.local",
            )
        ),
    ],
)
def test_a_key_may_go_to_a_private_host_or_by_https(endpoint: str) -> None:
    assert parsed(endpoint).warnings == ()


@pytest.mark.parametrize("name", ["key", "api_key", "API-KEY", "token", "password", "sig"])
def test_a_secret_in_the_query_of_an_address_is_refused_and_not_shown(name: str) -> None:
    path, message = mistake(
        endpoint=f'{{api_base: "https://host.example/v1?a=b&{name}=sk-secret"}}'
    )

    assert path == "endpoints.main.api_base"
    assert name in message
    assert "sk-secret" not in message


def test_a_secret_in_the_address_of_redis_is_refused_and_not_shown() -> None:
    for url in ("redis://host:6379?password=hush", "redis://:hush@host:6379"):
        path, message = mistake(more=f'redis: {{url: "{url}"}}')
        assert path == "redis.url"
        assert "hush" not in message


def test_a_proxy_is_an_address_or_a_secret_that_holds_one() -> None:
    plain = parsed('{proxy: "http://proxy.example:3128"}').build_endpoint("main")
    secret = parsed("{proxy: {env: PROXY}}").build_endpoint("main")

    assert (plain.proxy, secret.proxy) == ("http://proxy.example:3128", ENVIRONMENT["PROXY"])
    assert "secret" not in repr(secret)


@pytest.mark.parametrize(
    "proxy, words",
    [
        ('"http://me:hush@proxy.example"', "{env: NAME}"),
        ('"socks5://proxy.example"', "http://"),
        ("{env: KEY}", "http://"),
        ("7", "reference"),
    ],
)
def test_a_proxy_that_is_none_is_refused_and_not_shown(proxy: str, words: str) -> None:
    path, message = mistake(endpoint=f"{{proxy: {proxy}}}")

    assert path == "endpoints.main.proxy"
    assert words in message
    assert "hush" not in message
    assert "sk-1" not in message


def test_a_file_of_certificates_is_found_beside_the_config(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(Path(certifi.where()).read_bytes())

    endpoint = parsed("{ca_file: ca.pem}", folder=tmp_path).build_endpoint("main")

    assert endpoint.ca_file == str(tmp_path / "ca.pem")


@pytest.mark.parametrize("content, words", [(None, "cannot be read"), ("none", "no certificates")])
def test_a_file_without_certificates_is_a_mistake(
    tmp_path: Path, content: str | None, words: str
) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_text(content)

    path, message = mistake(endpoint="{ca_file: ca.pem}", folder=tmp_path)

    assert path == "endpoints.main.ca_file"
    assert words in message


@pytest.mark.parametrize("provider", ["bedrock", "vertex_ai", "sagemaker", "cohere", "nobody"])
def test_law_16_a_provider_that_our_client_can_not_call_is_a_mistake_that_names_it(
    provider: str,
) -> None:
    path, message = mistake(model=f"{provider}/m")

    assert path == "models.quick.litellm_model"
    assert provider in message


@pytest.mark.parametrize("provider", ROUTES)
def test_law_16_a_provider_without_a_usual_address_needs_one(provider: str) -> None:
    parsed('{api_base: "http://127.0.0.1:9"}', model=f"{provider}/m")
    if ROUTES[provider].address is not None:
        parsed(model=f"{provider}/m")
        return

    path, message = mistake(model=f"{provider}/m")

    assert path == "endpoints.main"
    assert "api_base" in message
    assert provider in message


def test_a_model_that_only_the_hosts_own_provider_calls_may_have_any_name() -> None:
    assert parsed(model="custom/of-our-own").models["quick"].litellm_model == "custom/of-our-own"


@pytest.mark.parametrize(
    "mode, warns", [(0o600, False), (0o640, False), (0o644, True), (0o602, True)]
)
def test_a_secret_file_that_every_user_may_read_is_warned_of(
    tmp_path: Path, mode: int, warns: bool
) -> None:
    file = tmp_path / "key"
    file.write_text("sk-secret")
    file.chmod(mode)

    warnings = parsed("{api_key: {file: key}}", folder=tmp_path).warnings

    assert [found.path for found in warnings] == ["endpoints.main.api_key"] * warns
    assert all("chmod 600" in found.message and "sk-" not in found.message for found in warnings)
