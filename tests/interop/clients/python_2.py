"""The Python SDK 2.x as a client. Usage and output: see README.md."""

import asyncio
import json
import sys

from mcp import Client
from mcp.client.sse import sse_client


def report(line: dict) -> None:
    print(json.dumps(line), flush=True)


async def main(url: str, mode: str) -> None:
    if mode not in ("auto", "legacy", "sse"):
        raise ValueError(f"unknown mode {mode}")
    async with Client(sse_client(url), mode="legacy") if mode == "sse" else Client(url, mode=mode) as client:
        report({"event": "connected", "protocol": client.protocol_version})

        listed = await client.list_tools()
        report({"event": "tools", "names": [tool.name for tool in listed.tools]})

        for line in sys.stdin:
            try:
                result = await client.call_tool(**json.loads(line))
                text = "\n".join(block.text for block in result.content)
                report({"event": "result", "isError": result.is_error, "text": text, "meta": result.meta or {}})
            except Exception as error:
                report({"event": "error", "text": repr(error)})


asyncio.run(main(*sys.argv[1:]))
