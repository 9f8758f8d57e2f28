"""A client of the Kestra server over stdio, with and without a policy: `stdio.py PROXY SERVER_SOURCES`."""
import asyncio
import json
import os
import sys
import tempfile

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

PROXY, SOURCES = sys.argv[1:]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": SOURCES,
    # Nobody is there: a call that gets this far fails.
    "KESTRA_BASE_URL": "http://127.0.0.1:9",
    "KESTRA_MCP_DISABLED_TOOLS": "",
}


async def session(policy):
    """The names of the tools that are listed, and what each of them answers to a call without arguments."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(policy, file)
        file.flush()
        arguments = ["stdio", "--policy", file.name, "--", sys.executable, "-m", "server"]
        parameters = StdioServerParameters(command=PROXY, args=arguments, env=ENVIRONMENT)
        async with stdio_client(parameters) as streams, ClientSession(*streams) as client:
            await client.initialize()
            names = [tool.name for tool in (await client.list_tools()).tools]
            return {name: (await client.call_tool(name, {})).content[0].text for name in names}


async def main():
    everything = await session({"version": "1", "default": "allow"})
    assert len(everything) == 29, sorted(everything)
    assert not [text for text in everything.values() if "policy" in text.lower()], everything
    one = await session({"version": "1", "default": "deny", "tools": {"list_executions": {}}})
    assert one.keys() == everything.keys()
    assert one.pop("list_executions") == everything.pop("list_executions")
    assert all("policy" in text.lower() for text in one.values()), one
    print(f"stdio: 29 tools listed, 1 reached the server, {len(one)} were refused")


asyncio.run(asyncio.wait_for(main(), 120))
