"""The tools of the stories on the Python SDK 1.x, which makes of arguments what their types ask for: of "500" a number, of
"on" a truth, of a string with JSON a list. What it executes it writes into a log, as it understood it.
"""

import json
import os
import socket
import sys
from typing import Any

import uvicorn
from mcp.server.fastmcp import FastMCP

server = FastMCP("stories", stateless_http=True, json_response=True)


def record(tool: str, **arguments: Any) -> str:
    """Append one line for a tool that ran, with what it was given."""
    with open(os.environ["CALL_LOG"], "a", encoding="utf-8") as log:
        log.write(json.dumps({"tool": tool, "arguments": arguments}) + "\n")
    return f"{tool} has run"


@server.tool()
def git_status() -> str:
    return record("git_status")


@server.tool()
def git_reset(mode: str = "mixed") -> str:
    return record("git_reset", mode=mode)


@server.tool()
def git_push(branch: str = "main", remote: str = "origin", force: bool = False) -> str:
    return record("git_push", branch=branch, remote=remote, force=force)


@server.tool()
def list_executions(namespace: str = "") -> str:
    return record("list_executions", namespace=namespace)


@server.tool()
def execute_flow(flow_id: str, namespace: str = "prod", inputs: dict[str, Any] | None = None) -> str:
    return record("execute_flow", namespace=namespace, flow_id=flow_id, inputs=inputs)


@server.tool()
def restart_execution(execution_id: str) -> str:
    return record("restart_execution", execution_id=execution_id)


@server.tool()
def manage_executions(execution_id: str, action: str = "kill") -> str:
    return record("manage_executions", action=action, execution_id=execution_id)


@server.tool()
def manage_flow(action: str, flow_id: str, namespace: str = "prod") -> str:
    return record("manage_flow", action=action, namespace=namespace, flow_id=flow_id)


@server.tool()
def manage_kv_store(namespace: str, action: str, key: str = "", value: Any = None) -> str:
    return record("manage_kv_store", action=action, namespace=namespace, key=key, value=value)


@server.tool()
def namespace_file_action(namespace: str, path: str, action: str = "delete") -> str:
    return record("namespace_file_action", action=action, namespace=namespace, path=path)


@server.tool()
def manage_group(action: str, id_: str = "", role: str = "") -> str:
    return record("manage_group", action=action, id_=id_, role=role)


@server.tool()
def get_payment(payment_id: str) -> str:
    return record("get_payment", payment_id=payment_id)


@server.tool()
def refund_payment(payment_id: str, amount: float = 1000000, currency: str = "EUR") -> str:
    return record("refund_payment", payment_id=payment_id, amount=amount, currency=currency)


@server.tool()
def fetch(url: str, max_length: int = 5000) -> str:
    return record("fetch", url=url, max_length=max_length)


@server.tool()
def http_request(url: str, method: str = "GET", body: str | None = None) -> str:
    return record("http_request", url=url, method=method, body=body)


@server.tool()
def run_command(command: str) -> str:
    return record("run_command", command=command)


@server.tool()
def run_program(program: str, arguments: list[str]) -> str:
    return record("run_program", program=program, arguments=arguments)


@server.tool()
def read_text_file(path: str) -> str:
    return record("read_text_file", path=path)


@server.tool()
def read_multiple_files(paths: list[str]) -> str:
    return record("read_multiple_files", paths=paths)


@server.tool()
def list_directory(path: str) -> str:
    return record("list_directory", path=path)


@server.tool()
def send_email(subject: str, body: str, to: list[str] | str = "all@example.com", bcc: list[str] | str | None = None) -> str:
    return record("send_email", to=to, subject=subject, body=body, bcc=bcc)


@server.tool()
def complete(prompt: str, model: str = "large", max_tokens: int | None = None) -> str:
    return record("complete", prompt=prompt, model=model, max_tokens=max_tokens)


@server.tool()
def search_issues(query: str) -> str:
    return record("search_issues", query=query)


@server.tool()
def close_issue(project: str, id: int) -> str:
    return record("close_issue", project=project, id=id)


@server.tool()
def delete_issue(id: int) -> str:
    return record("delete_issue", id=id)


@server.tool()
def admin() -> str:
    return record("admin")


@server.tool()
async def call_tool(tool_name: str, parameters: dict[str, Any] | None = None) -> str:
    await server.call_tool(tool_name, parameters or {})
    return "done"


@server.tool()
async def call_tools(calls: list[dict[str, Any]]) -> str:
    for call in calls:
        await server.call_tool(call["name"], call.get("arguments") or {})
    return "done"


def main() -> None:
    # Bound here and not by uvicorn, so that the port is known before the first request.
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}/mcp", file=sys.stderr, flush=True)
    config = uvicorn.Config(server.streamable_http_app(), log_level="warning", timeout_graceful_shutdown=1)
    uvicorn.Server(config).run(sockets=[listener])


main()
