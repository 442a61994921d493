"""A process with the gateway of the ``tensorzero`` wheel: its HTTP server, in Rust.

``python tensorzero_gateway.py CONFIG VALKEY_URL`` prints the address, and waits. The documented
ways to start the same server are a Docker image and a build from source; neither is in a registry
of packages.
"""

import sys
import threading

from tensorzero import _start_http_gateway


def main(config: str, valkey_url: str) -> None:
    """Start the gateway, and keep it until the process ends."""
    gateway = _start_http_gateway(
        config_file=config,
        clickhouse_url=None,
        postgres_url=None,
        valkey_url=valkey_url,
        async_setup=False,
    )
    print(gateway.base_url, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
