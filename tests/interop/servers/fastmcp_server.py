"""A FastMCP server with a handful of tools, each of which logs that it was executed.

It serves streamable HTTP with sessions on a free loopback port and prints the address on stderr.
"""

import json
import os
import socket
import sys

import uvicorn
from fastmcp import FastMCP
from fastmcp.server.dependencies import get_http_request

CALL_LOG = os.environ["CALL_LOG"]

server = FastMCP("interop")


def record(tool: str, **arguments: str) -> None:
    """Append one line for an executed call, with the session id that came with its request."""
    session = get_http_request().headers.get("mcp-session-id")
    with open(CALL_LOG, "a", encoding="utf-8") as log:
        log.write(json.dumps({"tool": tool, "session": session, **arguments}) + "\n")


@server.tool
def echo(message: str) -> str:
    """Answer with the message."""
    record("echo", message=message)
    return f"Echo: {message}"


@server.tool
def keep(message: str) -> str:
    """Pretend to keep the message."""
    record("keep", message=message)
    return f"Kept: {message}"


@server.tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    record("add")
    return a + b


# Its return type gives it an output schema, so a refusal also has to get past clients that check answers against it.
@server.tool
def erase() -> dict[str, str]:
    """Pretend to erase everything."""
    record("erase")
    return {"erased": "everything"}


@server.tool
def read_secret() -> str:
    """Pretend to read a secret."""
    record("read_secret")
    return "secret"


@server.tool
def send() -> str:
    """Pretend to send something."""
    record("send")
    return "sent"


def main() -> None:
    # Bound here and not by uvicorn, so that the port is known before the first request.
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}/mcp", file=sys.stderr, flush=True)
    config = uvicorn.Config(server.http_app(path="/mcp"), log_level="warning", timeout_graceful_shutdown=1)
    uvicorn.Server(config).run(sockets=[listener])


main()
