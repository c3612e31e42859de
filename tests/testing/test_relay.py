"""The relay forwards, cuts and refuses."""

import asyncio

from fastcore.testing.relay import Relay


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()
    writer.close()


async def test_forwards_both_ways_and_passes_the_end_on() -> None:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, Relay("127.0.0.1", server.sockets[0].getsockname()[1]) as relay:
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        writer.write(b"one\n")
        assert await reader.readline() == b"one\n"
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        assert relay.connections == 1


async def test_cut_resets_what_is_open_and_accepts_again() -> None:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, Relay("127.0.0.1", server.sockets[0].getsockname()[1]) as relay:
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        writer.write(b"one\n")
        assert await reader.readline() == b"one\n"
        assert relay.cut() == 1
        assert await rest(reader) == b""
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        writer.write(b"two\n")
        assert await reader.readline() == b"two\n"
        writer.close()


async def test_refuse_and_a_dead_server_end_the_connection() -> None:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with Relay("127.0.0.1", port) as relay:
        relay.refuse = True
        await ended(relay.port)
        relay.refuse = False
        server.close()
        await server.wait_closed()
        await ended(relay.port)
        assert relay.connections == 2


async def ended(port: int) -> None:
    """The connection is accepted and dropped without a byte."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert await rest(reader) == b""
    writer.close()


async def rest(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionError:
        return b""
