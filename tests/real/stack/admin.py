"""The admin API of the control server (``control/main.go``), and Pebble's behind it."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    import http.client
    from collections.abc import Iterable

PATIENCE = 60
"""Seconds within which every admin call answers."""


@attrs.frozen
class Admin:
    """What the tailnet and its CA do, changed while they run. Every call blocks for milliseconds."""

    url: str

    def set_cert_domains(self, names: Iterable[str]) -> None:
        """Replace CertDomains, and push them to every node."""
        self._call("PUT", "/cert-domains", sorted(names))

    def set_dns(self, *, fail: str = "", delay: float = 0, skip: bool = False) -> None:
        """Say how set-dns requests end: with an error, late (seconds), or with nothing published."""
        self._call("POST", "/set-dns", {"fail": fail, "delay": delay, "skip": skip})

    def add_acme_fault(
        self,
        path: str,
        *,
        status: int = 0,
        headers: dict[str, str] | None = None,
        body: str = "",
        delay: float = 0,
        count: int = -1,
    ) -> None:
        """Answer ACME requests instead of the CA.

        Args:
            path: prefix of the path; ``""`` is every request. Pebble's paths are ``/dir``, ``/nonce-plz``,
                ``/sign-me-up`` (account), ``/order-plz``, ``/authZ/``, ``/chalZ/``, ``/finalize-order/``,
                ``/my-order/``, ``/certZ/`` and ``/draft-ietf-acme-ari-03/renewalInfo/``.
            status: HTTP status; 0 lets the request through after ``delay``.
            headers: response headers.
            body: response body, an ACME problem as JSON.
            delay: seconds to wait first.
            count: how many requests it is good for; -1 is for ever.
        """
        fault = {
            "path": path,
            "status": status,
            "headers": headers or {},
            "body": body,
            "delay": delay,
            "count": count,
        }
        self._call("POST", "/acme-faults", fault)

    def clear_acme_faults(self) -> None:
        """Let the CA answer again."""
        self._call("DELETE", "/acme-faults")

    def acme_log(self) -> list[dict[str, Any]]:
        """Return the requests that reached the ACME front, oldest first.

        Each has ``t`` (Unix time), ``method`` and ``path``; a newOrder also ``order``, its payload.
        """
        return self._call("GET", "/acme-log") or []

    def set_renewal_window(self, leaf_pem: str, start: str, end: str) -> None:
        """Set the ARI window (RFC 3339 times) of one certificate."""
        window = {"suggestedWindow": {"start": start, "end": end}}
        self._call(
            "POST", "/pebble/set-renewal-info/", {"Certificate": leaf_pem, "ARIResponse": json.dumps(window)}
        )

    def set_upstream(self, acme: str, management: str) -> None:
        """Say where Pebble's two listeners are."""
        self._call("POST", "/upstream", {"acme": acme, "management": management})

    def root_pem(self) -> bytes:
        """Return Pebble's root certificate."""
        return self._fetch("GET", "/pebble/roots/0")

    def _call(self, method: str, path: str, body: object = None) -> Any:
        answer = self._fetch(method, path, body)
        return json.loads(answer) if answer else None

    def _fetch(self, method: str, path: str, body: object = None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, method=method)
        response: http.client.HTTPResponse
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return response.read()
