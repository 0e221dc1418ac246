"""A server of files with byte ranges that answers 503 and breaks off in the middle, as it is told."""

import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Shaky(ThreadingHTTPServer):
    """Serves ``folder``. ``faults`` are taken one per range asked for: 0 none, 503, or "drop"."""

    daemon_threads = True

    def __init__(self, folder: Path, faults, handler):
        super().__init__(("127.0.0.1", 0), handler)
        self.folder = folder
        self.faults = iter(faults)
        self.seen = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        """A client that has gone is no news."""


class Handler(BaseHTTPRequestHandler):
    """Files, whole or in part. A request for a whole file never fails."""

    def find(self):
        return self.server.folder / self.path.lstrip("/")

    def headers_of(self, path):
        return {}

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        path = self.find()
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        fault = 0
        if asked and body:
            fault = next(self.server.faults, 0)
            self.server.seen.append(fault)
        if isinstance(fault, int) and fault:
            self.send_error(fault)
            return
        start, last = (int(asked[1]), int(asked[2] or len(data) - 1)) if asked else (0, len(data))
        part = data[start : last + 1]
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{start + len(part) - 1}/{len(data)}")
        for name, value in self.headers_of(path).items():
            self.send_header(name, value)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if body:
            self.wfile.write(part[: len(part) // 2] if fault == "drop" else part)
        if fault == "drop":
            self.close_connection = True


@contextmanager
def serving(folder: Path, faults=(), handler=Handler):
    """A server in a thread of its own."""
    server = Shaky(folder, faults, handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
