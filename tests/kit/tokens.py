"""Who gives tokens of Entra ID, on loopback: as a virtual machine, App Service and the authority itself do.

Facts: Microsoft's pages "Acquire a token" of managed identities (IMDS, api-version 2018-02-01), "Managed
identities for App Service" (2019-08-01), and "client credentials flow" with a federated credential.
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from fixtures.certificates import Certificates

AUDIENCE = "https://storage.azure.com"


def token(lives_s: float = 3600, audience: str = AUDIENCE) -> str:
    """As Entra ID makes them, with a signature that nobody checks."""
    now = int(time.time())
    claims = {
        "aud": audience,
        "iss": "https://sts.windows.net/00000000-0000-0000-0000-000000000000/",
        "iat": now - 60,
        "nbf": now - 60,
        "exp": now + int(lives_s),
    }
    parts = [json.dumps(part).encode() for part in ({"typ": "JWT", "alg": "RS256"}, claims)] + [b"sign"]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request; ``fields`` are those of its query or of its form, ``headers`` by names in lower case."""

    path: str
    fields: dict[str, str]
    headers: dict[str, str]


@dataclass
class TokenEndpoint:
    """Gives ``token(lives_s)`` to whoever asks, or ``refusal`` as an error."""

    address: str = ""
    lives_s: float = 3600
    refusal: tuple[int, str] | None = None
    asked: list[Asked] = field(default_factory=list)

    def answer(self, asked: Asked) -> tuple[int, dict[str, Any]]:
        """Status and JSON."""
        self.asked.append(asked)
        if self.refusal is not None:
            status, code = self.refusal
            return status, {"error": code, "error_description": "Canary of the endpoint"}
        told = {"access_token": token(self.lives_s), "token_type": "Bearer"}
        if asked.path.endswith("/oauth2/v2.0/token"):
            return 200, told | {"expires_in": int(self.lives_s), "ext_expires_in": int(self.lives_s)}
        # These two tell their numbers as text.
        ends = str(int(time.time() + self.lives_s))
        return 200, told | {"expires_on": ends, "expires_in": str(int(self.lives_s)), "resource": AUDIENCE}


@contextmanager
def token_endpoint(certificates: Certificates | None = None) -> Iterator[TokenEndpoint]:
    """Runs until the end of the block; over TLS when it is given certificates."""
    endpoint = TokenEndpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(urlsplit(self.path).query)

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode())

        def _answer(self, fields: str) -> None:
            headers = {key.lower(): value for key, value in self.headers.items()}
            status, told = endpoint.answer(Asked(urlsplit(self.path).path, dict(parse_qsl(fields)), headers))
            body = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificates is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.server, certificates.server_key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    endpoint.address = f"{'https' if certificates else 'http'}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
