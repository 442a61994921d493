"""The Dockerfile and compose.yaml, as far as their text goes: no container engine runs them."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from ruamel.yaml import YAML

from runtime.cli import cli
from runtime.config import load_config
from runtime.web.routes import health
from tests.harness.pages import blocks
from tests.harness.paths import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
INSTRUCTIONS = [
    line for line in DOCKERFILE.replace("\\\n", " ").splitlines() if line and line[0] not in "# "
]
COMPOSE: dict[str, Any] = YAML(typ="safe").load((ROOT / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
BUILT = {name: service for name, service in SERVICES.items() if "build" in service}


def instructions(kind: str) -> list[str]:
    return [line.partition(" ")[2].strip() for line in INSTRUCTIONS if line.startswith(kind)]


def commands() -> Iterator[list[str]]:
    """What creditgate is started with, in the image and in each service of it."""
    [command] = instructions("CMD")
    yield YAML(typ="safe").load(command)
    for service in BUILT.values():
        if "command" in service:
            yield [str(word) for word in service["command"]]


def test_every_command_and_option_exists() -> None:
    found = list(commands())
    assert [command[0] for command in found] == ["serve", "mock-provider", "worker"]
    for name, *arguments in found:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None, name
        command.make_context(name, list(arguments), resilient_parsing=True)
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in arguments if word.startswith("--")} <= known


def test_the_image_runs_creditgate_as_a_user_without_rights() -> None:
    assert instructions("ENTRYPOINT") == ['["creditgate"]']
    assert instructions("USER") == ["creditgate"]
    last_stage = DOCKERFILE.rpartition("\nFROM ")[2]
    assert last_stage.index("\nUSER ") < last_stage.index("\nENTRYPOINT ")
    assert "useradd --system" in last_stage


def test_what_the_image_copies_and_installs_is_there() -> None:
    for line in instructions("COPY"):
        if not line.startswith("--from"):
            for name in shlex.split(line)[:-1]:
                assert (ROOT / name).exists(), name
                assert f"!{name}" in (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    [extras] = re.findall(r'"\.\[([a-z,]+)\]"', DOCKERFILE)
    assert set(extras.split(",")) <= set(project["optional-dependencies"])


def test_health_checks_ask_what_is_there() -> None:
    checks = {
        "Dockerfile": instructions("HEALTHCHECK")[0],
        "model": str(BUILT["model"]["healthcheck"]),
    }
    paths = {name: re.findall(r"127\.0\.0\.1:\d+(/\w+)", text) for name, text in checks.items()}
    assert paths == {"Dockerfile": ["/healthz"], "model": ["/health"]}
    assert "/healthz" in {route.path for route in health.router.routes if hasattr(route, "path")}
    assert all("healthcheck" in service for service in SERVICES.values() if "image" in service)


def test_everything_that_services_use_is_declared_and_nothing_else_is() -> None:
    used: dict[str, set[str]] = {"secrets": set(), "volumes": set(), "configs": set()}
    for service in SERVICES.values():
        used["secrets"] |= set(service.get("secrets", ()))
        used["volumes"] |= {mount.partition(":")[0] for mount in service.get("volumes", ())}
        used["configs"] |= {config["source"] for config in service.get("configs", ())}
        assert set(service.get("depends_on", ())) <= set(SERVICES)
    assert used == {kind: set(COMPOSE[kind]) for kind in used}
    for config in COMPOSE["configs"].values():
        assert (ROOT / config["file"]).is_file()


def test_the_service_is_given_longer_to_end_than_reservations_last(tmp_path: Path) -> None:
    config = load_config(config_with_secrets(tmp_path))
    for name in ("service-1", "service-2"):
        grace_s = int(SERVICES[name]["stop_grace_period"].removesuffix("s"))
        assert grace_s * 1000 > (
            config.executions.reservation_ttl_ms + config.service.drain_delay_ms
        )


def config_with_secrets(tmp_path: Path) -> Path:
    """The services' configuration, with its secrets in files of the test's."""
    text = (ROOT / "docker" / "config.yaml").read_text("utf-8")
    for name in COMPOSE["secrets"]:
        (tmp_path / name).write_text("0123456789abcdef" * 2)
        (tmp_path / name).chmod(0o600)
        assert f"/run/secrets/{name}" in text
    path = tmp_path / "config.yaml"
    path.write_text(text.replace("/run/secrets", str(tmp_path)), "utf-8")
    return path


def test_the_services_configuration_is_valid_and_finds_the_other_services(tmp_path: Path) -> None:
    config = load_config(config_with_secrets(tmp_path))
    assert not config.redis.is_embedded
    hosts = {
        str(address).partition("://")[2].partition(":")[0]
        for address in (
            config.redis.url,
            config.archive.url,
            *(endpoint.api_base for endpoint in config.endpoints.values()),
        )
    }
    assert hosts == {"valkey", "postgres", "model"}
    assert hosts <= set(SERVICES)
    published = {port for service in SERVICES.values() for port in service.get("ports", ())}
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert not any(port.endswith(f":{config.service.metrics_port}") for port in published)


@pytest.mark.parametrize("secret", sorted(COMPOSE["secrets"]))
def test_the_page_says_how_to_make_each_secret(secret: str) -> None:
    file = COMPOSE["secrets"][secret]["file"]
    told = "\n".join(blocks("docs/service.md", "console"))
    assert f"> {file}" in told
    assert "secrets/" in (ROOT / ".gitignore").read_text("utf-8").splitlines()
