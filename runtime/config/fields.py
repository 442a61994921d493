"""Types of values that sections share: ids, dates, credits, secrets, addresses."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    Strict,
    ValidationInfo,
    WithJsonSchema,
)

from pricing.offers import MAX_MC, MC_PER_CREDIT
from pricing.rate_card import MAX_RATE_MC
from runtime.config.addresses import check_host, check_query
from runtime.files.bounded import read_bounded
from runtime.ids import ID_RULE, is_strict_id

MOST_SECRET_BYTES = 65_536
"""The most bytes of a file that holds a secret."""

KEY_PREFIX_PATTERN = r"^[A-Za-z0-9_.-]{1,32}$"
KEY_PREFIX_RULE = "1 to 32 of the characters A-Z a-z 0-9 _ . -"
"""``KEY_PREFIX_PATTERN`` in words, for messages."""

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_HOW = "write {env: NAME} or {file: PATH}, so that the secret stays out of the config"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The folder and the environment that a config refers to."""

    base_dir: Path
    environ: Mapping[str, str]


def surroundings(info: ValidationInfo) -> Surroundings:
    """Return the surroundings that the loader passes as pydantic's validation context.

    A ``Config`` built in Python gets the current folder and the process's environment.
    """
    if isinstance(info.context, Surroundings):
        return info.context
    return Surroundings(Path(), os.environ)


def _located(name: str, around: Surroundings) -> Path:
    if "\0" in name:
        raise ValueError("a path must not hold a NUL character")
    try:
        return around.base_dir / Path(name).expanduser()
    except RuntimeError:
        raise ValueError(f"there is no home folder for {name!r}") from None


def _check_id(value: str) -> str:
    if not is_strict_id(value):
        raise ValueError(f"must be {ID_RULE}, found {value[:80]!r}")
    return value


def _to_date(value: Any) -> date:
    if isinstance(value, str) and _DATE.fullmatch(value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise ValueError(f"there is no date {value}") from None
    raise ValueError(f"must be a date like 2026-04-08, found {describe(value)}")


def _to_instant(value: Any) -> datetime:
    if isinstance(value, str):
        if _DATE.fullmatch(value):
            day = _to_date(value)
            return datetime(day.year, day.month, day.day, tzinfo=UTC)
        try:
            instant = datetime.fromisoformat(value)
            if instant.tzinfo is not None:
                return instant.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    raise ValueError(
        "must be a date like 2026-04-08 (which begins in UTC) or a time with its offset "
        f"like 2026-04-08T12:00:00Z, found {describe(value)}"
    )


def _to_mc(value: Any, most_mc: int) -> int:
    # Never a float: the document keeps numbers with a point as Decimal.
    if not isinstance(value, int | Decimal) or isinstance(value, bool):
        raise ValueError(f"must be a number of credits, found {describe(value)}")
    amount_mc = Decimal(value) * MC_PER_CREDIT
    if not 0 <= amount_mc <= most_mc:
        raise ValueError(f"must be from 0 to {most_mc // MC_PER_CREDIT:,} credits, found {value}")
    if amount_mc != amount_mc.to_integral_value():
        raise ValueError(f"must have at most three decimals, found {value}")
    return int(amount_mc)


def _to_rate_mc(value: Any) -> int:
    return _to_mc(value, MAX_RATE_MC)


def _to_granted_mc(value: Any) -> int:
    if isinstance(value, Decimal):
        raise ValueError(f"must be a whole number of credits, found {value}")
    amount_mc = _to_mc(value, MAX_MC)
    if amount_mc == 0:
        raise ValueError("must be at least 1 credit, found 0")
    return amount_mc


def _to_cents(value: Any) -> int:
    if not isinstance(value, int | Decimal) or isinstance(value, bool):
        raise ValueError(f"must be an amount of US dollars, found {describe(value)}")
    cents = Decimal(value) * 100
    if cents != cents.to_integral_value() or not 0 < cents <= MAX_MC:
        raise ValueError(f"must be above 0 with at most two decimals, found {value}")
    return int(cents)


def _to_secret(value: Any, info: ValidationInfo) -> SecretStr:
    """Return the secret that a reference leads to. Messages never show any part of it."""
    if isinstance(value, str):
        raise ValueError(f"must be a reference, found a value; {_HOW}")
    if not isinstance(value, dict) or set(value) not in ({"env"}, {"file"}):
        raise ValueError(f"must be a reference; {_HOW}")
    [(kind, name)] = value.items()
    if not isinstance(name, str) or not name:
        raise ValueError(f"must name what to read; {_HOW}")
    around = surroundings(info)
    secret = _from_env(name, around) if kind == "env" else _from_file(name, around)
    if not secret.isprintable():
        raise ValueError(f"{kind} {name!r} holds control characters or several lines")
    return SecretStr(secret)


def _from_env(name: str, around: Surroundings) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        # Not shown: somebody may have pasted a key instead of the name.
        raise ValueError("env must be the name of an environment variable, like OPENAI_API_KEY")
    secret = around.environ.get(name, "").strip()
    if not secret:
        state = "empty" if name in around.environ else "not set"
        raise ValueError(f"the environment variable {name} is {state}")
    return secret


def _from_file(name: str, around: Surroundings) -> str:
    path = _located(name, around)
    try:
        secret = read_bounded(path, MOST_SECRET_BYTES).decode().strip()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ValueError(f"the file {path} cannot be read: {why}") from None
    if not secret:
        raise ValueError(f"the file {path} is empty")
    return secret


def _to_folder(value: Any, info: ValidationInfo) -> Path:
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError(f"must be the path of a folder, found {describe(value)}")
    return _located(str(value), surroundings(info))


def check_url(value: str, schemes: tuple[str, ...]) -> str:
    """Return an address with one of the schemes, a host or path, and no secret in it.

    Raises:
        ValueError: the address is wrong. The message does not show it: it may hold a password.
    """
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise ValueError("is not a valid address (check its host and port)") from None
    if parts.scheme not in schemes:
        raise ValueError(f"must begin with {' or '.join(f'{s}://' for s in schemes)}")
    if "@" in parts.netloc:
        raise ValueError("must not hold a user name or password; secrets have a key of their own")
    if not (parts.path if parts.scheme == "unix" else parts.hostname) or port == 0:
        raise ValueError("is not a complete address: its host, port or path is missing")
    check_query(parts.query)
    check_host(parts.hostname or "")
    return value


def _check_api_base(value: str) -> str:
    return check_url(value, ("http", "https"))


def _to_proxy(value: Any, info: ValidationInfo) -> SecretStr:
    """Read a proxy's address: as it is, or by a reference if it holds a password."""
    if isinstance(value, str):
        try:
            return SecretStr(check_url(value, ("http",)))
        except ValueError as error:
            if "user name" in str(error):
                raise ValueError(f"must not hold a user name or password; {_HOW}") from None
            raise
    secret = _to_secret(value, info)
    whole = secret.get_secret_value()
    scheme, mark, rest = whole.partition("://")
    check_url(scheme + mark + rest.rpartition("@")[2], ("http",))
    return secret


def _to_ca_file(value: Any, info: ValidationInfo) -> Path:
    """Locate a file of certificates, and read it once: what is wrong is known at start."""
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError(f"must be the path of a file, found {describe(value)}")
    path = _located(str(value), surroundings(info))
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError:
        raise ValueError(f"the file {path} holds no certificates (PEM)") from None
    except OSError as error:
        raise ValueError(f"the file {path} cannot be read: {error.strerror}") from None
    return path


def describe(value: Any) -> str:
    """Return a value as messages show it: short ones as they are, others by their kind."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text {value!r}" if len(value) <= 60 else f"a text of {len(value)} characters"
    if isinstance(value, int | float | Decimal):
        return f"the number {value}"
    return "a mapping" if isinstance(value, dict) else "a list"


def _check_json_schema_mode(value: Any) -> Any:
    if value is True or value is False or value == "json_object":
        return value
    raise ValueError(f"must be true, false or json_object, found {value!r}")


Id = Annotated[str, Strict(), AfterValidator(_check_id)]
Text = Annotated[str, Strict()]
Flag = Annotated[bool, Strict()]
JsonSchemaMode = Annotated[
    bool | Literal["json_object"],
    BeforeValidator(_check_json_schema_mode),
    WithJsonSchema({"format": "true, false or json_object"}),
]
Whole = Annotated[int, Strict(), Field(ge=0, le=10**12)]
Positive = Annotated[int, Strict(), Field(ge=1, le=10**12)]
Percent = Annotated[int, Strict(), Field(ge=0, le=1000)]
Hours = Annotated[int, Strict(), Field(ge=1, le=87_600)]
Date = Annotated[date, BeforeValidator(_to_date), WithJsonSchema({"format": "date"})]
Instant = Annotated[datetime, BeforeValidator(_to_instant), WithJsonSchema({"format": "instant"})]
Folder = Annotated[Path, BeforeValidator(_to_folder), WithJsonSchema({"format": "path"})]
RateMc = Annotated[int, BeforeValidator(_to_rate_mc), WithJsonSchema({"format": "credits"})]
GrantedMc = Annotated[
    int, BeforeValidator(_to_granted_mc), WithJsonSchema({"format": "whole credits"})
]
Cents = Annotated[int, BeforeValidator(_to_cents), WithJsonSchema({"format": "US dollars"})]
Secret = Annotated[SecretStr, BeforeValidator(_to_secret), WithJsonSchema({"format": "secret"})]
ApiBase = Annotated[str, Strict(), AfterValidator(_check_api_base)]
Proxy = Annotated[
    SecretStr, BeforeValidator(_to_proxy), WithJsonSchema({"format": "text or secret"})
]
CaFile = Annotated[Path, BeforeValidator(_to_ca_file), WithJsonSchema({"format": "path"})]
