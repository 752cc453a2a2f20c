"""The serve config of a node, and which names in it need a certificate.

The format is ``ServeConfig`` of tailscale's ``ipn/serve.go``; which names count is the rule of
``EnsureCertLoops`` in its ``kube/certs/certs.go`` (scope ``services``) and a wider one of ours
(scope ``all``).
"""

from __future__ import annotations

import enum
import json
import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import attrs

from .errors import InvalidDomainError, ServeConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

__all__ = ["DomainFilter", "Listeners", "Scope", "ServeConfig", "check_domain", "some_of", "split_host_port"]

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_HTTPS_PORT = "443"


class Scope(enum.Enum):
    """Which names of a serve config get a certificate."""

    SERVICES = "services"
    """Tailscale Services only, as Tailscale's own CertManager does."""
    ALL = "all"
    """Services, and what the node itself serves over TLS, in the foreground too."""


@attrs.frozen(kw_only=True)
class Listeners:
    """What one node, one Service or one foreground session listens on."""

    web: tuple[str, ...] = ()
    """The ``host:port`` keys of ``Web``."""
    https_ports: frozenset[str] = frozenset()
    """Ports of ``TCP`` whose handler speaks HTTPS."""
    terminate_tls: frozenset[str] = frozenset()
    """Names for which a port of ``TCP`` terminates TLS."""


@attrs.frozen(kw_only=True)
class ServeConfig:
    """The parts of a serve config that matter for certificates."""

    node: Listeners = attrs.field(factory=Listeners)
    services: Mapping[str, Listeners] = attrs.field(factory=dict)
    foreground: Mapping[str, Listeners] = attrs.field(factory=dict)

    @classmethod
    def from_json(cls, text: str | bytes) -> ServeConfig:
        """Parse a serve config as tailscaled and containerboot write it.

        ``null``, which tailscaled answers where nothing is served, is an empty config. As in Go, the
        case of field names does not matter and unknown fields are ignored; a null service is skipped.

        Args:
            text: the JSON text.

        Raises:
            ServeConfigError: the text is no JSON (with line and column) or has another shape (with
                the path of the field).
        """
        try:
            value = json.loads(text)
        except json.JSONDecodeError as exc:
            raise ServeConfigError(
                f"serve config is not JSON: line {exc.lineno}, column {exc.colno}: {exc.msg}"
            ) from None
        except (ValueError, RecursionError) as exc:  # no UTF-8, an endless number, too deep
            raise ServeConfigError(f"serve config is not JSON: {exc}") from None
        config = _object(value, "serve config")
        return cls(
            node=_listeners(config, ""),
            services=_each_listeners(config, "services", "Services"),
            foreground=_each_listeners(config, "foreground", "Foreground"),
        )

    def domains(self, scope: Scope = Scope.SERVICES) -> frozenset[str]:
        """Return the names that need a certificate.

        Args:
            scope: whose names count.

        Raises:
            ServeConfigError: a ``host:port`` cannot be split or has no host. It names the key.
        """
        names: set[str] = set()
        for service, listeners in self.services.items():
            names |= listeners.terminate_tls
            for host, port in _hosts(listeners, f'Services["{service}"].Web'):
                if port == _HTTPS_PORT:
                    names.add(host)
        if scope is Scope.ALL:
            own = {"Web": self.node, **{f'Foreground["{k}"].Web': v for k, v in self.foreground.items()}}
            for place, listeners in own.items():
                names |= listeners.terminate_tls
                for host, port in _hosts(listeners, place):
                    if port in listeners.https_ports:
                        names.add(host)
        return frozenset(names)


@attrs.frozen(kw_only=True)
class DomainFilter:
    """Which wanted names are let through, by shell patterns such as ``*.tail1234.ts.net``.

    Applied before any request: a name in a certificate is public for ever in the
    certificate-transparency logs.
    """

    only: tuple[str, ...] = ()
    """Where not empty, a name must match one of these."""
    exclude: tuple[str, ...] = ()
    """A name that matches one of these is left out."""

    def __call__(self, domain: str) -> bool:
        """Return whether ``domain`` is let through."""
        name = domain.lower()
        return (not self.only or _matches(name, self.only)) and not _matches(name, self.exclude)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern.lower()) for pattern in patterns)


def check_domain(domain: str) -> str:
    """Return a name that a person gave in the form tailscaled wants: lower case, no final dot.

    Raises:
        InvalidDomainError: it is no DNS name of two labels or more (RFC 1035, with the underscores
            that DNS allows; a leading ``*.`` is a wildcard).
    """
    name = domain.lower().removesuffix(".")
    labels = name.removeprefix("*.").split(".")
    if len(name) > 253 or len(labels) < 2 or not all(_LABEL.fullmatch(label) for label in labels):
        raise InvalidDomainError(f"{domain!r} is no DNS name; one looks like box.tail1234.ts.net")
    return name


def some_of(names: Collection[str], most: int = 20) -> str:
    """Return names for a line that people read, the first ones of many."""
    shown = ", ".join(sorted(names)[:most]) or "no name"
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def split_host_port(host_port: str) -> tuple[str, str]:
    """Split ``host:port`` exactly as Go's ``net.SplitHostPort`` does, IPv6 brackets included.

    Raises:
        ValueError: with Go's words for what is wrong.
    """
    colon = host_port.rfind(":")
    if colon < 0:
        raise ValueError("missing port in address")
    if host_port.startswith("["):
        bracket = host_port.find("]")
        if bracket < 0:
            raise ValueError("missing ']' in address")
        if bracket + 1 != colon:
            many = host_port[bracket + 1 : bracket + 2] == ":"
            raise ValueError("too many colons in address" if many else "missing port in address")
        host = host_port[1:bracket]
        opening, closing = host_port[1:], host_port[bracket + 1 :]
    else:
        host = host_port[:colon]
        if ":" in host:
            raise ValueError("too many colons in address")
        opening = closing = host_port
    if "[" in opening:
        raise ValueError("unexpected '[' in address")
    if "]" in closing:
        raise ValueError("unexpected ']' in address")
    return host, host_port[colon + 1 :]


def _hosts(listeners: Listeners, place: str) -> Iterator[tuple[str, str]]:
    for key in listeners.web:
        try:
            host, port = split_host_port(key)
        except ValueError as exc:
            raise ServeConfigError(f'{place}: "{_printable(key)}": {exc}; want host:port') from None
        if not host or not host.isprintable():
            raise ServeConfigError(f'{place}: "{_printable(key)}" names no host; want host:port')
        yield host, port


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


def _object(value: Any, place: str) -> dict[str, Any]:  # noqa: ANN401 -- any JSON value
    """Return a JSON object with its keys lower-cased; null, as in Go, is an empty one."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ServeConfigError(f"{place}: want a JSON object, not {type(value).__name__}")
    return {key.lower(): field for key, field in value.items()}


def _entries(config: dict[str, Any], field: str, place: str) -> dict[str, Any]:
    """Return the non-null entries of a map, whose keys are data and keep their case."""
    value = config.get(field)
    _object(value, place)
    return {key: entry for key, entry in (value or {}).items() if entry is not None}


def _listeners(config: dict[str, Any], place: str) -> Listeners:
    https_ports, terminate_tls = set(), set()
    for port, entry in _entries(config, "tcp", f"{place}TCP").items():
        handler = _object(entry, f'{place}TCP["{port}"]')
        name = handler.get("terminatetls") or ""
        if not isinstance(name, str) or not name.isprintable():
            raise ServeConfigError(f'{place}TCP["{port}"].TerminateTLS: want a name')
        if name:
            terminate_tls.add(name)
        if handler.get("https") is True:
            https_ports.add(port)
    return Listeners(
        web=tuple(_entries(config, "web", f"{place}Web")),
        https_ports=frozenset(https_ports),
        terminate_tls=frozenset(terminate_tls),
    )


def _each_listeners(config: dict[str, Any], field: str, place: str) -> dict[str, Listeners]:
    listeners = {}
    for key, entry in _entries(config, field, place).items():
        path = f'{place}["{key}"]'
        listeners[key] = _listeners(_object(entry, path), f"{path}.")
    return listeners
