"""The page of all results on this machine alone, renewed while runs end: `ssm-bench report --watch`."""

import hashlib
import mimetypes
import sys
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ssm_bench.errors import UserError
from ssm_bench.record import peer, store
from ssm_bench.report import layout, page
from ssm_bench.report.page import content

#: The address of this machine for itself; no other machine reaches it.
HOST = "127.0.0.1"

#: The names under which a browser may ask for it: a page of another site that has its name point here is refused.
NAMES = (HOST, "localhost")


def fingerprint(root: Path | str) -> str:
    """What changes whenever a file that the page shows is written, added or deleted."""
    files = [*store.paths(root), *store.speed_paths(root), *peer.paths(root)]
    files += sorted(layout.analyses_of(root).glob("*.csv"))
    states = []
    for path in files:
        try:
            state = path.stat()
        except FileNotFoundError:
            continue
        states.append(f"{path} {state.st_mtime_ns} {state.st_size}")
    return hashlib.sha256("\n".join(states).encode()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    """Answers with the page, its fingerprint, or a file below the folder of results."""

    def __init__(self, *arguments, root: Path):
        self.root = root
        super().__init__(*arguments)

    def do_GET(self) -> None:
        """Answers one request."""
        if (self.headers.get("Host") or "").rsplit(":", 1)[0] not in NAMES:
            self.send_error(HTTPStatus.FORBIDDEN)
            return
        path = unquote(urlsplit(self.path).path).lstrip("/")
        if path in ("", page.NAME):
            # The fingerprint first: a record that is written meanwhile renews the page once more.
            mark = fingerprint(self.root)
            text = page.build(content.read(self.root), fingerprint=mark)
            self._send(text.encode(), "text/html; charset=utf-8")
        elif path == "fingerprint":
            self._send(fingerprint(self.root).encode(), "text/plain")
        else:
            self._send_file(path)

    def _send_file(self, path: str) -> None:
        root = self.root.resolve()
        try:
            file = (root / path).resolve()
            known = file.is_relative_to(root) and file.is_file()
        except (OSError, ValueError):
            known = False
        if known:
            self._send(file.read_bytes(), mimetypes.guess_type(file.name)[0] or "application/octet-stream")
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def _send(self, body: bytes, kind: str) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments) -> None:
        """Says nothing of a request: the terminal shows the address alone."""


class _Server(ThreadingHTTPServer):
    """Ignores browsers that leave before they have their answer."""

    def handle_error(self, request, client_address) -> None:
        """Shows what went wrong with a request, unless its connection ended."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def server(root: Path | str, port: int) -> ThreadingHTTPServer:
    """A server of the page on this machine alone, which answers once its `serve_forever` is called.

    Args:
        root: the folder of all results; it need not exist yet.
        port: 0 takes a free one; `server_port` is the one taken.

    Raises:
        UserError: the port is in use or not allowed.
    """
    try:
        return _Server((HOST, port), partial(_Handler, root=Path(root)))
    except OSError as error:
        raise UserError(f"--port {port}: {error.strerror}; --port 0 takes a free one") from None
