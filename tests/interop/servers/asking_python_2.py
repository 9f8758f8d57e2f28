"""The Python SDK 2.x as a server whose tools ask for more before they do anything (2026-07-28): first for a room, then
for nothing but its state, which the SDK seals. It writes every round into a log, with the state that came with it and
the one that it gave."""

import json
import os
import socket
import sys

import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, ElicitRequest, ElicitRequestFormParams, InputRequiredResult, TextContent

# What somebody could lose who writes it anew.
ODD = '{"é":"\\/\U0001f600"}  %41'

ROOM = {"type": "object", "properties": {"room": {"type": "string"}}, "required": ["room"]}

server = MCPServer("asking")


def run(tool: str, message: str, context: Context) -> CallToolResult | InputRequiredResult:
    state, responses = context.request_state, context.input_responses or {}
    chosen = responses["room"].content["room"] if "room" in responses else None
    given = {None: f"asked {ODD}", f"asked {ODD}": f"answered {chosen} {ODD}"}.get(state)
    line = {"tool": tool, "message": message, "state": state, "room": chosen, "others": [*responses], "next": given}
    with open(os.environ["CALL_LOG"], "a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")
    if state is None:
        question = ElicitRequest(params=ElicitRequestFormParams(message="Which room?", requested_schema=ROOM))
        return InputRequiredResult(input_requests={"room": question}, request_state=given)
    if given is not None:
        return InputRequiredResult(request_state=given)
    return CallToolResult(content=[TextContent(text=f"{message}: {state}")])


@server.tool()
def book(message: str, context: Context) -> CallToolResult | InputRequiredResult:
    """Book a room."""
    return run("book", message, context)


@server.tool()
def sign(message: str, context: Context) -> CallToolResult | InputRequiredResult:
    """Sign for a room."""
    return run("sign", message, context)


def main() -> None:
    # Bound here and not by uvicorn, so that the port is known before the first request.
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}/mcp", file=sys.stderr, flush=True)
    config = uvicorn.Config(server.streamable_http_app(), log_level="warning", timeout_graceful_shutdown=1)
    uvicorn.Server(config).run(sockets=[listener])


main()
