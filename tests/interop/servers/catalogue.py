"""A server on stdio that offers the tools of a file, and answers each call of them as that file says.

The file is a JSON array of `{"tool": {…}, "answer": "…"}`, like the demo's. Calls are written to the file that CALL_LOG
names.
"""

import json
import os
import sys
from pathlib import Path


def executed(call: dict) -> None:
    line = {"tool": call["name"], "arguments": call.get("arguments", {})}
    with open(os.environ["CALL_LOG"], "a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")


def answered(catalogue: dict, method: str, params: dict) -> dict:
    if method == "initialize":
        name = {"name": "catalogue", "version": "1"}
        return {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": name}
    if method == "tools/list":
        return {"tools": [entry["tool"] for entry in catalogue.values()]}
    if method == "tools/call":
        executed(params)
        answer = catalogue[params["name"]].get("answer", "done")
        return {"content": [{"type": "text", "text": answer}], "isError": False}
    if method == "ping":
        return {}
    raise KeyError(method)


def main(path: str) -> None:
    entries = json.loads(Path(path).read_text(encoding="utf-8"))
    catalogue = {entry["tool"]["name"]: entry for entry in entries}
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message or "method" not in message:
            continue
        answer = {"jsonrpc": "2.0", "id": message["id"]}
        try:
            answer["result"] = answered(catalogue, message["method"], message.get("params", {}))
        except KeyError as unknown:
            answer["error"] = {"code": -32601, "message": f"there is no {unknown}"}
        print(json.dumps(answer), flush=True)


main(sys.argv[1])
