"""An HTTPS server on a loopback port of its own, whose answers may also be broken ones."""

from __future__ import annotations

import dataclasses
import http.server
import socket
import ssl
import threading
import urllib.parse

ADDRESS = "127.0.0.1"


@dataclasses.dataclass
class Request:
    """One request, its headers as they were sent."""

    method: str
    target: str
    headers: list
    body: bytes

    def header(self, name):
        """The value of a header; of one that was sent more than once, all of them."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return ", ".join(values) if values else None

    @property
    def path(self):
        """The path, decoded."""
        return urllib.parse.unquote(urllib.parse.urlsplit(self.target).path)

    @property
    def query(self):
        """The query's parameters, each once."""
        text = urllib.parse.urlsplit(self.target).query
        return dict(urllib.parse.parse_qsl(text, keep_blank_values=True))


@dataclasses.dataclass
class Response:
    """One answer. `cut_after` closes the connection after that many bytes of the body."""

    status: int = 200
    headers: dict = dataclasses.field(default_factory=dict)
    body: bytes = b""
    cut_after: int | None = None


class Dropped(Exception):
    """Raised by who answers: the connection is closed without an answer."""


class Listener:
    """Serves `answer(request)` until it is stopped; it can be started again on the same port.

    Without a pair it serves without TLS. HTTP/1.0 is what Python's servers speak unless told otherwise.
    """

    def __init__(self, answer, pair, version="HTTP/1.1"):
        self.answer = answer
        self.version = version
        self.context = None
        if pair:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(pair.certificate, pair.key)
        self.port = 0
        self.server = None
        self.start()

    @property
    def url(self):
        """Where it listens."""
        return f"{'https' if self.context else 'http'}://{ADDRESS}:{self.port}"

    def start(self):
        """Listens, on the port that it had before if it had one."""
        self.server = Server((ADDRESS, self.port), Connection)
        self.server.owner = self
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        """Stops listening and cuts every connection."""
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server.cut_all()
            self.server = None


class Server(http.server.ThreadingHTTPServer):
    """Threads for connections, and the sockets of those that are open."""

    daemon_threads = True
    block_on_close = False
    owner: Listener

    def __init__(self, *arguments):
        self.open = set()
        self.lock = threading.Lock()
        super().__init__(*arguments)

    def cut_all(self):
        with self.lock:
            for connection in self.open:
                try:
                    # The socket's own shutdown, since the TLS one would take the session from its thread.
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)
                except OSError:
                    pass

    def handle_error(self, request, client_address):
        """Clients come and go, some in the middle of a handshake; what they asked for is what is checked."""


class Connection(http.server.BaseHTTPRequestHandler):
    """One connection: handshake in its own thread, then requests until one side closes it."""

    disable_nagle_algorithm = True
    timeout = 120

    def setup(self):
        self.request.settimeout(self.timeout)
        owner = self.server.owner
        self.protocol_version = owner.version
        if owner.context:
            self.request = owner.context.wrap_socket(self.request, server_side=True)
        with self.server.lock:
            self.server.open.add(self.request)
        super().setup()

    def finish(self):
        super().finish()
        with self.server.lock:
            self.server.open.discard(self.request)
        self.request.close()

    def exchange(self):
        length = self.headers.get("Content-Length")
        body = self.rfile.read(int(length)) if length else b""
        request = Request(self.command, self.path, self.headers.items(), body)
        try:
            response = self.server.owner.answer(request)
        except Dropped:
            self.close_connection = True
            return
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        if "Content-Length" not in response.headers:
            self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if response.cut_after is None:
            self.wfile.write(response.body)
        else:
            self.wfile.write(response.body[: response.cut_after])
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = exchange

    def log_message(self, *_):
        """Quiet: what was asked is kept by who answers."""
