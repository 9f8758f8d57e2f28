"""The Python SDK 1.x as a client that only lists tools. Usage and output: see README.md."""

import asyncio
import json
import sys

from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.types import Implementation


async def list_once(url: str, index: int, seconds: float) -> dict:
    information = Implementation(name=f"session-{index}", version="1.0.0")
    line = {"session": index, "error": "no list"}
    try:
        async with (
            streamable_http_client(url) as (read, write, *_),
            ClientSession(read, write, client_info=information) as session,
        ):
            await session.initialize()
            try:
                async with asyncio.timeout(seconds):
                    listed = await session.list_tools()
                line = {"session": index, "names": [tool.name for tool in listed.tools]}
            except Exception as error:
                line = {"session": index, "error": repr(error)}
    # What ends the session ends the list, too.
    except BaseException as error:
        if "names" not in line:
            line["error"] = repr(error)
    return line


async def main(url: str, count: str, milliseconds: str) -> None:
    # With all at once, none would be done in time.
    turns = asyncio.Semaphore(16)

    async def list_in_turn(index: int) -> dict:
        async with turns:
            return await list_once(url, index, int(milliseconds) / 1000)

    for line in await asyncio.gather(*(list_in_turn(index) for index in range(int(count)))):
        print(json.dumps(line), flush=True)


asyncio.run(main(*sys.argv[1:]))
