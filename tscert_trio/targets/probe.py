"""Which certificate a server really serves: a look at it from outside, by one TLS handshake."""

from __future__ import annotations

import enum
import hashlib
import os
import ssl
from typing import TYPE_CHECKING

import attrs
import trio

from ..certificate import CertChain
from ..clock import describe_duration
from ..serve_config import some_of

if TYPE_CHECKING:
    from datetime import timedelta

    from ..certificate import Certificate

__all__ = ["PROBE_DELAYS", "Probed", "Served", "probe", "probe_until_new"]

PROBE_DELAYS = (0.25, 0.5, 0.75, 1, 2, 5)
"""Seconds between the looks of :func:`probe_until_new`: a server takes a moment to reload."""


class Served(enum.Enum):
    """What a server was seen to serve."""

    NEW = "new"
    """The certificate that was delivered."""
    OLD = "old"
    """The one before it: the server has not read the new one."""
    OTHER = "other"
    """Another: this server gets its certificate from somewhere else, or this is not the server."""
    NONE = "none"
    """None: it is down, or does not speak TLS there."""


@attrs.frozen(kw_only=True)
class Probed:
    """What came of a look."""

    served: Served
    text: str
    """A line for people."""


async def probe(
    host: str,
    port: int,
    domain: str,
    *,
    leaf: Certificate,
    before: str | None,
    timeout: timedelta,  # noqa: ASYNC109 -- it makes an answer
) -> Probed:
    """Look once which certificate a server serves. Whether it is valid is not checked.

    Cancelling closes the connection at once.

    Args:
        host: a name or an address, IPv6 too, with or without brackets.
        port: where TLS is spoken from the first byte on.
        domain: the name that is asked for (SNI); for a wildcard, ``tscert-probe`` below it.
        leaf: the certificate that should be served.
        before: the fingerprint of the one before it, if there was one.
        timeout: how long a look may take.
    """
    host = host.removeprefix("[").removesuffix("]")
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        with trio.fail_after(timeout.total_seconds()):
            der = await _served_certificate(host, port, domain.replace("*.", "tscert-probe.", 1))
    except trio.TooSlowError:
        text = f"{place} did not answer within {describe_duration(timeout)}"
        return Probed(served=Served.NONE, text=text)
    except (OSError, trio.BrokenResourceError, UnicodeError, ValueError) as exc:
        return Probed(served=Served.NONE, text=f"{place} serves no certificate: {_reason(exc)}")
    fingerprint = hashlib.sha256(der).hexdigest()
    if fingerprint == leaf.fingerprint:
        return Probed(served=Served.NEW, text=f"{place} serves the new certificate")
    if fingerprint == before:
        return Probed(served=Served.OLD, text=f"{place} still serves the certificate before")
    return Probed(served=Served.OTHER, text=f"{place} serves another certificate, {_description(der)}")


async def probe_until_new(
    host: str,
    port: int,
    domain: str,
    *,
    leaf: Certificate,
    before: str | None,
    timeout: timedelta,  # noqa: ASYNC109 -- for each look
) -> Probed:
    """Look until the new certificate is served, after :data:`PROBE_DELAYS` again; return the last look.

    The arguments are those of :func:`probe`. Cancelling ends it at once.
    """
    probed = await probe(host, port, domain, leaf=leaf, before=before, timeout=timeout)
    for delay in PROBE_DELAYS:
        if probed.served is Served.NEW:
            break
        await trio.sleep(delay)
        probed = await probe(host, port, domain, leaf=leaf, before=before, timeout=timeout)
    return probed


async def _served_certificate(host: str, port: int, server_name: str) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    tcp = await trio.open_tcp_stream(host, port)
    try:
        stream = trio.SSLStream(tcp, context, server_hostname=server_name, https_compatible=True)
        await stream.do_handshake()
        der = stream.getpeercert(binary_form=True)
    finally:
        await trio.aclose_forcefully(tcp)
    if not isinstance(der, bytes):
        raise ssl.SSLError("the server showed no certificate")
    return der


def _reason(exc: BaseException) -> str:
    """Return the innermost cause in the system's words: what Trio says round it adds nothing."""
    while True:
        if isinstance(exc, BaseExceptionGroup):
            exc = exc.exceptions[0]
        elif exc.__cause__ is not None:
            exc = exc.__cause__
        else:
            break
    if isinstance(exc, ssl.SSLError):
        return f"the TLS handshake failed ({(exc.reason or str(exc)).replace('_', ' ').lower()})"
    if isinstance(exc, OSError) and exc.errno:
        is_system_error = exc.errno > 0  # below are those of name resolution
        return os.strerror(exc.errno) if is_system_error else exc.strerror or str(exc)
    return str(exc) or type(exc).__name__


def _description(der: bytes) -> str:
    try:
        leaf = CertChain.from_pem(ssl.DER_cert_to_PEM_cert(der).encode()).leaf
    except ValueError:
        return f"with the fingerprint {hashlib.sha256(der).hexdigest()[:16]}..."
    return f"for {some_of(leaf.names, 3)}, valid until {leaf.not_after:%Y-%m-%d}"
