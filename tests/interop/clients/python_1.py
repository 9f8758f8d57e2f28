"""The Python SDK 1.x as a client. Usage and output: see README.md."""

import asyncio
import json
import sys

from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client


def report(line: dict) -> None:
    print(json.dumps(line), flush=True)


async def main(url: str, mode: str) -> None:
    if mode != "legacy":
        raise ValueError(f"unknown mode {mode}")
    async with (
        streamable_http_client(url) as (read_stream, write_stream, _),
        ClientSession(read_stream, write_stream) as session,
    ):
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
