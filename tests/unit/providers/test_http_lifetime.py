"""Our HTTP client from its first loop to its last: closing, loops, threads, forks, imports."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
import threading

import pytest

from providers.http import HttpClient, Lost, NotConnected
from tests.harness.paths import ROOT
from tests.harness.raw_http import answering, response, serving, silent_host

# Closing


async def test_after_closing_all_connections_are_closed(
    client: HttpClient, own_tls: tuple[ssl.SSLContext, str]
) -> None:
    tls, ca_file = own_tls
    async with answering(response()) as plain, answering(response(), tls=tls) as secret:
        for _ in range(3):
            await client.send("POST", plain.url, [], b"{}")
            url = secret.url.replace("http:", "https:")
            await client.send("POST", url, [], b"{}", ca_file=ca_file)
        await client.aclose()
        async with asyncio.timeout(5):
            await asyncio.gather(plain.all_closed.wait(), secret.all_closed.wait())


async def test_a_client_that_was_closed_opens_new_connections(client: HttpClient) -> None:
    async with answering(response()) as server:
        for _ in range(2):
            await client.send("POST", server.url, [], b"{}")
            await client.aclose()
            await client.aclose()

    assert (len(server.requests), server.connections) == (2, 2)


async def test_closing_ends_calls_under_way_and_says_what_is_certain(client: HttpClient) -> None:
    with silent_host() as silent:
        async with answering(response(), hold=asyncio.Event()) as server:
            asked = [
                asyncio.create_task(client.send("POST", url, [], b"{}"))
                for url in (server.url, f"http://127.0.0.1:{silent}")
            ]
            await asyncio.sleep(0.2)
            new = asyncio.create_task(client.send("POST", server.url, [], b"{}"))
            await asyncio.sleep(0)
            async with asyncio.timeout(5):
                await client.aclose()
                errors = await asyncio.gather(*asked, new, return_exceptions=True)

    assert [type(error) for error in errors] == [Lost, NotConnected, NotConnected]
    assert {str(error) for error in errors} == {"the client was closed"}
    assert len(server.requests) == 1


async def test_closing_does_not_wait_for_a_host_that_does_not_read(client: HttpClient) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # typed as for writing alone
        await asyncio.Event().wait()

    async with serving(talk) as port:
        body = b" " * 30_000_000
        call = asyncio.create_task(client.send("POST", f"http://127.0.0.1:{port}", [], body))
        await asyncio.sleep(0.2)
        async with asyncio.timeout(5):
            await client.aclose()
        with pytest.raises(Lost):
            await call


CLEAN = """
import asyncio, gc, ssl, sys
from providers.http import HttpClient
from tests.harness.raw_http import answering, response

async def main():
    client = HttpClient()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*sys.argv[1:])
    async with answering(response()) as plain, answering(response(), tls=tls) as secret:
        await client.send("POST", plain.url, [], b"{}")
        url = secret.url.replace("http:", "https:")
        for _ in range(2):
            await client.send("POST", url, [], b"{}", ca_file=sys.argv[1])
        await client.aclose()
        await asyncio.gather(plain.all_closed.wait(), secret.all_closed.wait())

asyncio.run(main())
gc.collect()
print("ended")
"""


def run(script: str, *arguments: str, flags: tuple[str, ...] = ()) -> str:
    ended = subprocess.run(
        [sys.executable, *flags, "-c", script, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ended.stderr == ""
    return ended.stdout


def test_a_client_that_was_closed_leaves_nothing_to_complain_of(
    own_tls: tuple[ssl.SSLContext, str],
) -> None:
    certificate = own_tls[1]
    key = certificate.replace("certificate.pem", "key.pem")

    assert run(CLEAN, certificate, key, flags=("-X", "dev")) == "ended\n"


# Loops, threads and processes


def test_connections_belong_to_their_event_loop() -> None:
    client = HttpClient()

    async def use() -> tuple[int, int]:
        async with answering(response()) as server:
            for _ in range(2):
                await client.send("POST", server.url, [], b"{}")
            await client.aclose()
            return len(server.requests), server.connections

    assert asyncio.run(use()) == (2, 1)
    assert asyncio.run(use()) == (2, 1)


def test_threads_with_loops_of_their_own_share_a_client(
    own_tls: tuple[ssl.SSLContext, str],
) -> None:
    tls, ca_file = own_tls
    client = HttpClient()
    counts: list[tuple[int, int]] = []

    async def use() -> None:
        async with answering(response(), tls=tls) as server:
            url = server.url.replace("http:", "https:")
            for _ in range(10):
                batch = (client.send("POST", url, [], b"{}", ca_file=ca_file) for _ in range(4))
                await asyncio.gather(*batch)
            await client.aclose()
            counts.append((len(server.requests), server.connections))

    threads = [threading.Thread(target=asyncio.run, args=(use(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert counts == [(40, 4)] * 3


FORK = """
import asyncio, os, sys
from providers.http import HttpClient

client = HttpClient()
url = sys.argv[1]

async def ask(close):
    answer = await client.send("POST", url, [(b"X-From", b"%d" % os.getpid())], b"{}")
    assert answer.status == 200
    if close:
        await client.aclose()

async def main():
    await ask(False)
    child = os.fork()
    if not child:
        asyncio.run(ask(True))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0
    await ask(True)

asyncio.run(main())
"""


async def test_after_a_fork_the_child_has_connections_of_its_own_and_leaves_its_parents() -> None:
    async with answering(response()) as server:
        await asyncio.to_thread(run, FORK, server.url)

    parent, child, parent_again = (headers["x-from"] for _, headers, _ in server.requests)
    assert parent == parent_again != child
    assert server.connections == 2


# Imports


def test_the_client_needs_no_litellm() -> None:
    loaded = "import sys, providers.http; print(*{'litellm', 'openai', 'httpx'} & {*sys.modules})"

    assert run(loaded) == "\n"
