"""A server by the Python SDK (package `mcp`, 1.x) with the tool that is called to measure.

python_server.py PORT
"""

import sys

import uvicorn
from mcp.server.fastmcp import FastMCP

# No sessions and no streams: the least that such a server has to do for a call.
server = FastMCP("measured", stateless_http=True, json_response=True, log_level="ERROR")


@server.tool()
def tool_99(amount: int, content: str) -> str:
    """Answers with what it was given."""
    return content


uvicorn.run(
    server.streamable_http_app(),
    host="127.0.0.1",
    port=int(sys.argv[1]),
    log_level="error",
    access_log=False,
)
