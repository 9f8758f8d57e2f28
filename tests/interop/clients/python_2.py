"""The Python SDK 2.x as a client. Usage and output: see README.md."""

import asyncio
import json
import os
import sys

from mcp import Client, MCPError, UrlElicitationRequiredError, types
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

# What is left to answer during the call that is being made.
answers: list[dict] = []


def report(line: dict) -> None:
    print(json.dumps(line), flush=True)


async def elicited(_context: object, params: types.ElicitRequestParams) -> types.ElicitResult:
    report({"event": "elicited", "params": params.model_dump(mode="json", by_alias=True, exclude_none=True)})
    return types.ElicitResult.model_validate(answers.pop(0))


def describe(error: MCPError) -> dict:
    line = {"event": "error", "text": repr(error), "code": error.code}
    if error.code == types.URL_ELICITATION_REQUIRED:
        pages = UrlElicitationRequiredError.from_error(error.error).elicitations
        line["elicitations"] = [page.model_dump(mode="json", by_alias=True, exclude_none=True) for page in pages]
    return line


async def make(client: Client, line: str) -> None:
    """Make one call, until it is answered or the next line aborts it."""
    call = json.loads(line)
    answers[:] = call.pop("answers", [])
    aborts = call.pop("abort", False)
    calling = asyncio.create_task(client.call_tool(**call))
    try:
        if aborts:
            await asyncio.to_thread(sys.stdin.readline)
            calling.cancel()
        result = await calling
        text = "\n".join(block.text for block in result.content)
        report({"event": "result", "isError": result.is_error, "text": text, "meta": result.meta or {}})
    except MCPError as error:
        report(describe(error))
    except (Exception, asyncio.CancelledError) as error:
        report({"event": "error", "text": repr(error)})


async def main(url: str, mode: str) -> None:
    if mode not in ("auto", "legacy", "sse"):
        raise ValueError(f"unknown mode {mode}")
    server = sse_client(url) if mode == "sse" else url
    if token := os.environ.get("TOKEN"):
        client = create_mcp_http_client({"authorization": f"Bearer {token}"})
        server = streamable_http_client(url, http_client=client)
    # With a callback it declares form and url, and without one nothing.
    callback = elicited if "ELICITATION" in os.environ else None
    negotiated = "legacy" if mode == "sse" else mode
    async with Client(server, mode=negotiated, elicitation_callback=callback) as client:
        report({"event": "connected", "protocol": client.protocol_version})

        listed = await client.list_tools()
        report({"event": "tools", "names": [tool.name for tool in listed.tools]})

        # In a thread, so that what an aborted call leaves to be sent is sent.
        while line := await asyncio.to_thread(sys.stdin.readline):
            await make(client, line)


asyncio.run(main(*sys.argv[1:]))
