"""A token service for docker-registry (distribution: spec/auth/token), which signs what it is asked for."""

from __future__ import annotations

import base64
import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import trustme
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509 import load_pem_x509_certificate

from tests.support.registry import basic

SERVICE, ISSUER = "test-registry", "test-issuer"


@dataclass
class TokenService:
    """`anonymous`: repositories that need no password for a pull. `lifetime`: seconds. `requests`: query and
    Authorization. `single`: refuses to speak of several repositories at once."""

    place: Path
    anonymous: tuple[str, ...] = ()
    lifetime: int = 300
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    lie: bytes | None = None
    single: bool = False

    def __post_init__(self) -> None:
        service = self
        authority = trustme.CA()
        issued = authority.issue_cert("token.example")
        self.place.mkdir(parents=True, exist_ok=True)
        authority.cert_pem.write_to_path(str(self.place / "root.pem"))
        key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
        assert isinstance(key, EllipticCurvePrivateKey)
        self._key = key
        leaf = load_pem_x509_certificate(issued.cert_chain_pems[0].bytes())
        self._certificate = base64.b64encode(leaf.public_bytes(serialization.Encoding.DER)).decode()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                service._get(self)

            def do_POST(self) -> None:
                service._post(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def realm(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/token"

    @property
    def configuration(self) -> dict[str, str]:
        """What the registry wants to know of it."""
        bundle = str(self.place / "root.pem")
        return {"realm": self.realm, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": bundle}

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def sign(self, repository: str, actions: list[str], *more: tuple[str, list[str]]) -> str:
        """A token that allows `actions` on a repository, and on `more` of them."""
        now = int(time.time())
        allowed = [(repository, actions), *more] if repository else []
        access = [{"type": "repository", "name": name, "actions": actions} for name, actions in allowed]
        head = {"typ": "JWT", "alg": "ES256", "x5c": [self._certificate]}
        claims = {
            "iss": ISSUER,
            "sub": "",
            "aud": SERVICE,
            "exp": now + self.lifetime,
            "nbf": now - 5,
            "iat": now,
            "jti": str(now),
            "access": access,
        }
        text = f"{_encode(json.dumps(head).encode())}.{_encode(json.dumps(claims).encode())}"
        r, s = decode_dss_signature(self._key.sign(text.encode(), ECDSA(hashes.SHA256())))
        return f"{text}.{_encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def _get(self, handler: BaseHTTPRequestHandler) -> None:
        authorization = handler.headers.get("authorization")
        query = urlsplit(handler.path).query
        self.requests.append((query, authorization))
        scopes = parse_qs(query).get("scope", [])
        public = bool(scopes) and all(scope.split(":")[1] in self.anonymous for scope in scopes)
        if authorization != basic() and not public:
            return _send(handler, 401, b'{"errors": [{"message": "who are you?"}]}')
        if len(scopes) > 1 and self.single:
            return _send(handler, 403, b"{}")
        return self._answer(handler, scopes, None if authorization == basic() else ["pull"])

    def _post(self, handler: BaseHTTPRequestHandler) -> None:
        form = handler.rfile.read(int(handler.headers["content-length"])).decode()
        self.requests.append((form, None))
        fields = parse_qs(form)
        if fields.get("refresh_token") != ["identity"]:
            return _send(handler, 401, b"{}")
        return self._answer(handler, fields["scope"][0].split(), None)

    def _answer(self, handler: BaseHTTPRequestHandler, scopes: list[str], actions: list[str] | None) -> None:
        """A token for what is asked for, or for these actions at most."""
        allowed = [(name, actions or asked.split(",")) for _, name, asked in (scope.split(":") for scope in scopes)]
        token = self.sign(*allowed[0], *allowed[1:]) if allowed else self.sign("", [])
        body = json.dumps({"token": token, "expires_in": self.lifetime}).encode()
        _send(handler, 200, self.lie if self.lie is not None else body)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _send(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    handler.send_response(status)
    handler.send_header("content-length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
