"""``ssl.SSLContext``s of servers whose certificate is replaced while they serve.

Loading a certificate into a context again changes what new connections see. OpenSSL copies certificate
and key into each connection as it begins (``SSL_new``), so those that are open, or in the middle of their
handshake, keep theirs. All settings of the context stay, and so do its ticket keys.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .certificate import key_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .certificate import Certificate, CertPair

__all__ = ["NameContext", "SNIContext", "ServerContext"]


class ServerContext(ssl.SSLContext):
    """A server's context that can hand a connection over to another one.

    OpenSSL then takes from the other what it has not copied yet (``SSL_set_SSL_CTX``): certificate and key,
    but also ALPN, ciphers, the CAs of client certificates, DH parameters and the key log. So whatever a
    server sets of these goes to the others, too. Versions, options, verify mode and the session tickets
    remain those of this one.
    """

    def __init__(self, _protocol: int) -> None:
        self.leaves: dict[str, Certificate] = {}
        """What it presents, by managed name."""
        self._others: dict[str, ssl.SSLContext] = {}
        self._settings: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

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

    def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
        """As in :class:`ssl.SSLContext`. So are the others here."""
        self._set("set_alpn_protocols", list(alpn_protocols))

    def set_ciphers(self, cipherlist: str, /) -> None:  # noqa: D102
        self._set("set_ciphers", cipherlist)

    def load_verify_locations(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401, D102
        self._set("load_verify_locations", *args, **kwargs)

    def set_default_verify_paths(self) -> None:  # noqa: D102
        self._set("set_default_verify_paths")

    def load_dh_params(self, path: str, /) -> None:  # noqa: D102
        self._set("load_dh_params", path)

    @property
    def keylog_filename(self) -> str:  # noqa: D102
        return super().keylog_filename

    @keylog_filename.setter
    def keylog_filename(self, value: str) -> None:
        self._set("__setattr__", "keylog_filename", value)

    def _set(self, method: str, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        if method == "__setattr__":
            ssl.SSLContext.keylog_filename.__set__(self, args[1])  # type: ignore[attr-defined]
        else:
            getattr(super(), method)(*args, **kwargs)
        for other in self._others.values():
            getattr(other, method)(*args, **kwargs)
        self._settings.append((method, args, kwargs))

    def _another(self, *, only: str = "") -> ssl.SSLContext:
        other = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        for method, args, kwargs in self._settings:
            if only in {"", method}:
                getattr(other, method)(*args, **kwargs)
        return other


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
