"""What the Kestra server needs of a Kestra, as far as README.md goes: it says what it is asked, on standard output.

An execution can be started and deleted. Nothing else is there.
"""

import http.server
import json
import re
import sys
from urllib.parse import urlsplit

START = re.compile(r"/api/v1/main/executions/([a-z]+)/([a-z]+)")
DELETE = re.compile(r"/api/v1/main/executions/[a-z0-9]+")


class Kestra(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        if started := START.fullmatch(self.path_asked()):
            namespace, flow = started.groups()
            execution = {"id": "e1", "namespace": namespace, "flowId": flow, "state": {"current": "CREATED"}}
            self.answer(200, json.dumps(execution).encode())
        else:
            self.answer(404)

    def do_DELETE(self) -> None:
        self.answer(204 if DELETE.fullmatch(self.path_asked()) else 404)

    def do_GET(self) -> None:
        self.path_asked()
        self.answer(404)

    do_PUT = do_PATCH = do_GET

    def path_asked(self) -> str:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        path = urlsplit(self.path).path
        print(self.command, path, flush=True)
        return path

    def answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        pass


def main() -> None:
    host, _, port = sys.argv[1].rpartition(":")
    with http.server.ThreadingHTTPServer((host, int(port)), Kestra) as server:
        print("ready", flush=True)
        server.serve_forever()


main()
