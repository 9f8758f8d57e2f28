"""The Python SDK 1.x as a client. Usage and output: see README.md."""

import asyncio
import json
import os
import sys

from mcp import ClientSession, McpError, StdioServerParameters, UrlElicitationRequiredError, types
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

# The SDK has no setting for it.
types.LATEST_PROTOCOL_VERSION = os.environ.get("PROTOCOL", types.LATEST_PROTOCOL_VERSION)

# What is left to answer during the call that is being made.
answers: list[dict] = []


def report(line: dict) -> None:
    print(json.dumps(line), flush=True)


async def elicited(_context: object, params: types.ElicitRequestParams) -> types.ElicitResult:
    report({"event": "elicited", "params": params.model_dump(mode="json", by_alias=True, exclude_none=True)})
    return types.ElicitResult.model_validate(answers.pop(0))


def describe(error: McpError) -> dict:
    line = {"event": "error", "text": repr(error), "code": error.error.code}
    if error.error.code == types.URL_ELICITATION_REQUIRED:
        pages = UrlElicitationRequiredError.from_error(error.error).elicitations
        line["elicitations"] = [page.model_dump(mode="json", by_alias=True, exclude_none=True) for page in pages]
    return line


def connect(server: str, mode: str, command: list[str]):
    if server == "stdio":
        return stdio_client(StdioServerParameters(command=command[0], args=command[1:]))
    if mode == "sse":
        return sse_client(server)
    token = os.environ.get("TOKEN")
    headers = {"authorization": f"Bearer {token}"} if token else None
    return streamable_http_client(server, http_client=create_mcp_http_client(headers))


async def main(server: str, mode: str, *command: str) -> None:
    if mode not in ("legacy", "sse"):
        raise ValueError(f"unknown mode {mode}")
    # With a callback it declares form and url, and without one nothing.
    callback = elicited if "ELICITATION" in os.environ else None
    # A third value, of the one transport that gives it, tells the session id.
    async with (
        connect(server, mode, list(command)) as (read, write, *_),
        ClientSession(read, write, elicitation_callback=callback) as session,
    ):
        initialized = await session.initialize()
        report({"event": "connected", "protocol": initialized.protocolVersion})

        listed = await session.list_tools()
        report({"event": "tools", "names": [tool.name for tool in listed.tools]})

        for line in sys.stdin:
            try:
                call = json.loads(line)
                answers[:] = call.pop("answers", [])
                result = await session.call_tool(**call)
                text = "\n".join(block.text for block in result.content)
                report({"event": "result", "isError": result.isError, "text": text, "meta": result.meta or {}})
            except McpError as error:
                report(describe(error))
            except Exception as error:
                report({"event": "error", "text": repr(error)})


asyncio.run(main(*sys.argv[1:]))
