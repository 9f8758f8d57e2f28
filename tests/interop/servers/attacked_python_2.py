"""The Python SDK 2.x as a server of both eras. What it executes it writes into a log, one line for each."""

import os
import socket
import sys

import uvicorn
from mcp.server import MCPServer

server = MCPServer("attacked")


def record(name: str) -> None:
    with open(os.environ["CALL_LOG"], "a", encoding="utf-8") as log:
        log.write(f"{name}\n")


def offer_tool(name: str) -> None:
    @server.tool(name=name)
    def run() -> str:
        record(name)
        return f"{name} has run"


def offer_prompt(name: str) -> None:
    @server.prompt(name=name)
    def say() -> str:
        record(f"prompt {name}")
        return name


@server.resource("file:///public/{name}")
def read(name: str) -> str:
    """Pretend to read a public file."""
    record(f"resource file:///public/{name}")
    return "text"


@server.resource("file:///etc/passwd")
def read_passwords() -> str:
    """Pretend to read a file that is nobody's business."""
    record("resource file:///etc/passwd")
    return "text"


def main() -> None:
    for tool in ("safe", "danger", "hidden", "call_tool"):
        offer_tool(tool)
    for prompt in ("greet", "secret"):
        offer_prompt(prompt)
    # Bound here and not by uvicorn, so that the port is known before the first request.
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}/mcp", file=sys.stderr, flush=True)
    app = server.streamable_http_app(stateless_http=True, json_response=True)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
    uvicorn.Server(config).run(sockets=[listener])


main()
