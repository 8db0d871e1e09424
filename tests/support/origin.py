"""An HTTP server whose every reply is scripted: the faults of object stores, and a log to count in."""

import contextlib
import hashlib
import re
import socket
import struct
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlparse

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_ERRORS = {
    "expired": (400, b"ExpiredToken"),
    "redirect": (301, b"PermanentRedirect"),
    "other-region": (400, b"AuthorizationHeaderMalformed"),
}
STATUSES = {"500": 500, "503": 503, "429": 429, "403": 403, "401": 401}


@dataclass
class Seen:
    """One request as it came, and how much of a body went back so far."""

    method: str
    key: str
    range: str | None
    if_match: str | None
    num_body_bytes: int = 0


class Origin:
    """Serves `objects` by key below /bucket/; `script` says what goes wrong with which GET."""

    def __init__(self, objects=()):
        self.objects = dict(objects)
        self.seen = []
        self._scripts = {}
        self._lock = threading.Lock()
        self.stopping = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.origin = self
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *reason):
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}"

    def url(self, prefix=""):
        """An s3:// URL of the bucket, without credentials."""
        return f"s3://bucket/{prefix}?endpoint={self.endpoint}&anonymous=true"

    def script(self, key, *faults, forever=False):
        """What happens to the next GETs of a key, in their order; afterwards all is well."""
        self._scripts[key] = (list(faults), forever)

    def next_fault(self, key):
        with self._lock:
            faults, forever = self._scripts.get(key, ([], False))
            if not faults:
                return None
            return faults[0] if forever and len(faults) == 1 else faults.pop(0)

    def note(self, seen):
        with self._lock:
            self.seen.append(seen)

    def gets(self, key=None):
        """The GETs of one key, or of all."""
        return [s for s in self.seen if s.method == "GET" and key in (None, s.key)]

    def num_bytes(self, key=None):
        """Body bytes that went out."""
        return sum(seen.num_body_bytes for seen in self.gets(key))


def etag_of(content):
    return f'"{hashlib.md5(content).hexdigest()}"'


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request, client_address):
        """A client that goes away is none of our errors."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 0

    def setup(self):
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, *words):
        pass

    @property
    def origin(self):
        return self.server.origin

    def do_HEAD(self):
        self._serve("HEAD")

    def do_GET(self):
        self._serve("GET")

    def _serve(self, method):
        key = unquote(urlparse(self.path).path).removeprefix("/bucket/")
        fault = self.origin.next_fault(key) if method == "GET" else None
        self._seen = Seen(method, key, self.headers["Range"], self.headers["If-Match"])
        self.origin.note(self._seen)
        self._answer(method, key, fault)

    def _answer(self, method, key, fault):
        if fault == "replaced":
            self._replace(key)
        content = self.origin.objects.get(key)
        if fault in ("reset", "stall"):
            self.origin.stopping.wait(60 if fault == "stall" else 0)
            self._reset()
        elif fault in STATUSES:
            self._plain(STATUSES[fault], {"Retry-After": "2"} if fault == "503" else {})
        elif fault in _ERRORS:
            status, code = _ERRORS[fault]
            self._plain(status, {}, b"<Error><Code>%s</Code><Message>No.</Message></Error>" % code)
        elif content is None:
            self._plain(404, {})
        elif self.headers["If-Match"] not in (None, etag_of(content)):
            self._plain(412, {})
        else:
            self._body(method, flipped(content) if fault == "flip" else content, fault)

    def _plain(self, status, headers, body=b""):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self._write(body)

    def _body(self, method, content, fault):
        start, stop = 0, len(content)
        asked = _RANGE.fullmatch(self.headers["Range"] or "")
        if asked and fault != "no-range":
            first, last = asked.groups()
            start = int(first) if first else max(0, stop - int(last))
            stop = min(stop, int(last) + 1) if first and last else stop
            if start >= len(content):
                self._plain(416, {"Content-Range": f"bytes */{len(content)}"})
                return
        total = len(content)
        if fault == "half":  # a whole-looking reply of half an object
            stop = start + (stop - start) // 2
            total = stop
        is_part = bool(asked) and fault != "no-range"
        self.send_response(206 if is_part else 200)
        if is_part:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{total}")
        self.send_header("Content-Length", str(stop - start))
        self.send_header("ETag", etag_of(self.origin.objects[self._seen.key]))
        self.send_header("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT")
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        if method == "GET":
            self._send(memoryview(content)[start:stop], fault)

    def _replace(self, key):
        self.origin.objects[key] = bytes(len(self.origin.objects[key]))

    def _send(self, body, fault):
        half = len(body) // 2
        match fault:
            case "reset-mid" | "replaced-mid":
                self._write(body[:half])
                time.sleep(0.05)  # so that what was sent arrives before the reset
                if fault == "replaced-mid":
                    self._replace(self._seen.key)
                self._reset()
            case "short":
                self._write(body[:half])
                self.close_connection = True
            case "stall-mid":
                self._write(body[:half])
                self.origin.stopping.wait(60)
                self._reset()
            case "trickle":
                for piece in range(8):
                    self._write(body[piece * len(body) // 8 : (piece + 1) * len(body) // 8])
                    time.sleep(0.15)
            case _:
                self._write(body)

    def _write(self, content):
        if len(content):
            self.wfile.write(content)
            self._seen.num_body_bytes += len(content)

    def _reset(self):
        # Closing with unsent data and no patience is what sends a true reset.
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.close()


def flipped(content):
    """The content with one bit of every 1000th byte turned."""
    changed = bytearray(content)
    for place in range(0, len(changed), 1000):
        changed[place] ^= 1
    return bytes(changed)
