"""The Python SDK 1.x as a client. Usage and output: see README.md."""

import asyncio
import json
import sys

from mcp import ClientSession, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client


def report(line: dict) -> None:
    print(json.dumps(line), flush=True)


def connect(server: str, mode: str, command: list[str]):
    if server == "stdio":
        return stdio_client(StdioServerParameters(command=command[0], args=command[1:]))
    if mode == "sse":
        return sse_client(server)
    return streamable_http_client(server)


async def main(server: str, mode: str, *command: str) -> None:
    if mode not in ("legacy", "sse"):
        raise ValueError(f"unknown mode {mode}")
    # A third value, of the one transport that gives it, tells the session id.
    async with connect(server, mode, list(command)) as (read, write, *_), ClientSession(read, write) as session:
        initialized = await session.initialize()
        report({"event": "connected", "protocol": initialized.protocolVersion})

        listed = await session.list_tools()
        report({"event": "tools", "names": [tool.name for tool in listed.tools]})

        for line in sys.stdin:
            try:
                result = await session.call_tool(**json.loads(line))
                text = "\n".join(block.text for block in result.content)
                report({"event": "result", "isError": result.isError, "text": text, "meta": result.meta or {}})
            except Exception as error:
                report({"event": "error", "text": repr(error)})


asyncio.run(main(*sys.argv[1:]))
