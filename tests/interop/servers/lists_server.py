"""A server that answers each session's list of tools in another of the encodings of ../attacks/encodings.json.

Which one is told by the name of the client, `session-NUMBER`. The policy layer must let no client see `hidden`.
"""

import base64
import gzip
import json
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOOLS = json.dumps([{"name": name, "inputSchema": {"type": "object"}} for name in ("safe", "hidden", "danger")])
LIST = '{"jsonrpc":"2.0","id":{ID},"result":{"tools":{TOOLS}}}'
LINES = "".join(f"data: {line}\n" for line in LIST.replace("{TOOLS}", TOOLS.replace("}, ", "},\n")).split("\n"))


def stored_brotli(content: bytes) -> bytes:
    """Brotli with the content in it as it is: a window of 16 bits, one block that is not compressed, and the end."""
    head = (len(content) - 1) << 4 | 1 << 20
    return head.to_bytes(3, "little") + content + b"\x03"


def utf_7(text: str) -> bytes:
    def shifted(character: str) -> str:
        return f"+{base64.b64encode(character.encode('utf-16-be')).decode().rstrip('=')}-"

    return text.replace("{", shifted("{")).replace('"', shifted('"')).encode()


CODINGS = {
    None: str.encode,
    "gzip": lambda text: gzip.compress(text.encode()),
    "deflate": lambda text: zlib.compress(text.encode()),
    "br": lambda text: stored_brotli(text.encode()),
    "utf-16": lambda text: text.encode("utf-16-le"),
    "utf-7": utf_7,
    "byte order mark": lambda text: b"\xef\xbb\xbf" + text.encode(),
}


class ListsServer(ThreadingHTTPServer):
    """Listens on a free loopback port."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, encodings: list[dict]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.encodings = encodings
        self.address = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    server: ListsServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_arguments) -> None:
        """Say nothing."""

    def handle_one_request(self) -> None:
        # A client that goes away in the middle is no news.
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/elsewhere":
            self.answer_in({"status": 200, "headers": [["content-type", "application/json"]], "body": "{LIST}"}, message)
        elif message.get("method") == "initialize":
            self.initialize(message)
        elif message.get("method") == "tools/list":
            session = int(self.headers["mcp-session-id"].rsplit("-", 1)[1])
            self.answer_in(self.server.encodings[session], message)
        else:
            self.send_response(202)
            self.send_header("content-length", "0")
            self.end_headers()

    def do_GET(self) -> None:
        if self.path == "/elsewhere":
            self.answer_in(
                {"status": 200, "headers": [["content-type", "application/json"]], "body": "{LIST}"}, {"id": 1}
            )
        else:
            self.refuse()

    def do_DELETE(self) -> None:
        self.refuse()

    def refuse(self) -> None:
        self.send_response(405)
        self.send_header("content-length", "0")
        self.end_headers()

    def initialize(self, message: dict) -> None:
        parameters = message["params"]
        result = {
            "protocolVersion": parameters["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "lists", "version": "1.0.0"},
        }
        body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.send_header("mcp-session-id", f"{id(message)}-{parameters['clientInfo']['name']}")
        self.end_headers()
        self.wfile.write(body)

    def answer_in(self, encoding: dict, message: dict) -> None:
        text = encoding["body"].replace("{LIST}", LIST).replace("{LINES}", LINES).replace("{TOOLS}", TOOLS)
        body = CODINGS[encoding.get("coding")](text.replace("{ID}", json.dumps(message["id"])))
        self.send_response(encoding["status"])
        for name, value in encoding["headers"]:
            self.send_header(name, value.replace("{ELSEWHERE}", f"{self.server.address}/elsewhere"))
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        size = encoding.get("pieces", len(body))
        for start in range(0, len(body), size):
            piece = body[start : start + size]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        trailers = "".join(f"{name}: {value}\r\n" for name, value in encoding.get("trailers", []))
        self.wfile.write(f"0\r\n{trailers}\r\n".encode())
