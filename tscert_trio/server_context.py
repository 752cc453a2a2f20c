"""``ssl.SSLContext``s of servers whose certificate is replaced while they serve.

Loading a certificate into a context again changes what new connections see. OpenSSL copies certificate
and key into each connection as it begins (``SSL_new``), so those that are open, or in the middle of their
handshake, keep theirs. All settings of the context stay, and so do its ticket keys.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any

from .certificate import key_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .certificate import Certificate, CertPair

__all__ = ["NameContext", "SNIContext", "ServerContext"]


_OWN = frozenset({"sni_callback"})
"""Attributes that are not for the contexts that connections are handed over to."""
_SETTERS = (
    "load_dh_params", "load_verify_locations", "set_alpn_protocols", "set_ciphers", "set_ciphersuites",
    "set_default_verify_paths", "set_ecdh_curve", "set_groups", "set_psk_server_callback",
    "set_server_sigalgs",
)  # fmt: skip
"""Methods that are, some of them from later releases of Python."""


class ServerContext(ssl.SSLContext):
    """A server's context that can hand a connection over to another one.

    OpenSSL then takes from the other what it has not copied yet (``SSL_set_SSL_CTX``): certificate and key,
    but also ALPN, ciphers, the CAs of client certificates, DH parameters and the key log; Python looks up the
    verify mode there. So whatever a server sets goes to the others, too. The session tickets remain those of
    this one.
    """

    def __init__(self, _protocol: int) -> None:
        self.leaves: dict[str, Certificate] = {}
        """What it presents, by managed name."""
        self._others: dict[str, ssl.SSLContext] = {}
        self._settings: dict[tuple[str, Any], tuple[tuple[Any, ...], dict[str, Any]]] = {}

    def wants(self, domain: str, /) -> bool:
        """Return whether it presents the certificate of this managed name."""
        raise NotImplementedError

    def put(self, domain: str, pair: CertPair) -> None:
        """Present this certificate for a managed name from now on.

        Raises:
            OSError: OpenSSL does not take it, or a file that the server set is gone. Then the one before is
                still presented.
        """
        raise NotImplementedError

    def __setattr__(self, name: str, value: object) -> None:
        if hasattr(ssl.SSLContext, name) and name not in _OWN:
            self._set("__setattr__", name, value)
        else:
            super().__setattr__(name, value)

    def _set(self, method: str, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        args = tuple(list(arg) if isinstance(arg, Iterator) else arg for arg in args)
        getattr(super(), method)(*args, **kwargs)
        for other in self._others.values():
            getattr(other, method)(*args, **kwargs)
        what: object = None  # of what the last one counts
        if method == "__setattr__":
            what = args[0]
        elif method == "load_verify_locations":  # each adds some
            what = (args, *kwargs.items())
        self._settings[method, what] = (args, kwargs)

    def _another(self, *, only: str = "") -> ssl.SSLContext:
        other = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        for (method, _), (args, kwargs) in self._settings.items():
            if only in {"", method}:
                getattr(other, method)(*args, **kwargs)
        return other


def _setter(method: str) -> Callable[..., None]:
    def set_here_and_there(self: ServerContext, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        self._set(method, *args, **kwargs)

    return wraps(getattr(ssl.SSLContext, method))(set_here_and_there)


for _method in _SETTERS:
    if hasattr(ssl.SSLContext, _method):
        setattr(ServerContext, _method, _setter(_method))


class NameContext(ServerContext):
    """Presents the newest certificate of one name."""

    def __init__(self, protocol: int) -> None:
        super().__init__(protocol)
        self.domain = ""
        self._kind: str | None = None

    def wants(self, domain: str, /) -> bool:
        """See :meth:`ServerContext.wants`."""
        return domain == self.domain

    def put(self, domain: str, pair: CertPair) -> None:
        """See :meth:`ServerContext.put`."""
        kind = key_kind(pair)
        if self._kind in {None, kind}:
            # What cannot be loaded fails with the first. Ciphers set the security level, too.
            _load(pair, self._another(only="set_ciphers"), self)
            self._kind = kind
            self._others.clear()
        else:
            # A context holds a certificate for each kind of key, so the old one would still be presented.
            other = self._another()
            _load(pair, other)
            self._others[domain] = other
            self.sni_callback = _hand_over_to_newest
        self.leaves[domain] = pair.leaf

    def newest(self) -> ssl.SSLContext | None:
        """Return the context to hand over to, where it is another one."""
        return self._others.get(self.domain)


class SNIContext(ServerContext):
    """Presents the newest certificate of the name that a client asks for (SNI)."""

    def __init__(self, protocol: int) -> None:
        super().__init__(protocol)
        self.default: str | None = None
        """For clients that ask for no name, or for an unknown one."""
        self.managed: Callable[[], Iterable[str]] = lambda: ()
        """All managed names, the first one first."""
        self.expand: Callable[[str], list[str]] = lambda _label: []
        """The managed names that a short host name may mean."""
        self._by_name: dict[str, ssl.SSLContext] | None = None
        self.sni_callback = _hand_over_by_name

    def wants(self, _domain: str, /) -> bool:
        """See :meth:`ServerContext.wants`."""
        return True

    def put(self, domain: str, pair: CertPair) -> None:
        """See :meth:`ServerContext.put`."""
        other = self._another()
        _load(pair, other)
        self._others[domain] = other
        self.leaves[domain] = pair.leaf
        self._by_name = None

    def keep_only(self, domains: Iterable[str]) -> None:
        """Forget the names that are no longer managed."""
        for domain in self._others.keys() - set(domains):
            del self._others[domain], self.leaves[domain]
            self._by_name = None

    def pick(self, server_name: str | None) -> ssl.SSLContext | None:
        """Return the context for what a client asks for; ``None`` where there is no certificate at all."""
        name = (server_name or "").lower().removesuffix(".")
        by_name = self._index()
        for candidate in (name, f"*.{name.partition('.')[2]}"):
            if candidate in by_name:
                return by_name[candidate]
        if name and "." not in name:
            meant = self.expand(name)
            if len(meant) == 1 and meant[0] in self._others:
                return self._others[meant[0]]
        for domain in (self.default, *self.managed()):
            if domain in self._others:
                return self._others[domain]
        return None

    def _index(self) -> dict[str, ssl.SSLContext]:
        if self._by_name is None:
            covered = {
                name: self._others[domain] for domain, leaf in self.leaves.items() for name in leaf.names
            }
            index = covered | self._others
            self._by_name = {name.lower(): context for name, context in index.items()}
        return self._by_name


# Plain functions: a bound method would make a circle that only the garbage collector ends.
def _hand_over_to_newest(connection: Any, _server_name: str | None, context: Any) -> None:  # noqa: ANN401
    newest = context.newest()
    if newest is not None:
        connection.context = newest


def _hand_over_by_name(connection: Any, server_name: str | None, context: Any) -> int | None:  # noqa: ANN401
    picked = context.pick(server_name)
    if picked is None:
        return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
    connection.context = picked
    return None


def _load(pair: CertPair, *contexts: ssl.SSLContext) -> None:
    with _file_of(pair) as path:
        for context in contexts:
            context.load_cert_chain(path)


@contextmanager
def _file_of(pair: CertPair) -> Iterator[str]:
    """Yield the path of a file with key and chain, which OpenSSL wants, and which nobody else can read.

    On Linux it is in memory only.
    """
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("certificate")
        with open(fd, "wb") as file:  # noqa: PTH123 -- a descriptor has no path
            path = f"/proc/self/fd/{fd}"
            if os.path.exists(path):  # noqa: PTH110 -- no /proc in some containers
                _write(file, pair)
                yield path
                return
    with tempfile.TemporaryDirectory(prefix="tscert-") as folder:  # mode 0700
        path = os.path.join(folder, "pair.pem")  # noqa: PTH118
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(fd, "wb") as file:  # noqa: PTH123
            _write(file, pair)
        yield path


def _write(file: Any, pair: CertPair) -> None:  # noqa: ANN401
    file.write(pair.key_pem)
    file.write(pair.chain_pem)
    file.flush()
