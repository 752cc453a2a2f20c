"""The three requests of a cert loop, each with the proof that it did what it was for.

An answer of tailscaled is no proof: it gives the old certificate while renewals fail behind it. So the
leaf is looked at.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from .errors import StaleCertificateError
from .loop_log import local_time
from .schedule import due_time

if TYPE_CHECKING:
    from datetime import datetime

    from .certificate import CertChain, Certificate, CertPair
    from .clock import Clock
    from .localapi import LocalAPI

__all__ = ["issue", "look", "look_at_chain", "look_at_pair", "renew"]

_SECOND = timedelta(seconds=1)
_LOOK_PATIENCE = timedelta(seconds=10)
"""A tailscaled that still has the certificate answers in milliseconds."""


async def look(client: LocalAPI, domain: str) -> Certificate:
    """Return the certificate that tailscaled has; one with a second left is not renewed for that.

    Raises:
        LocalAPIError: see the class. So do the others here.
    """
    return (await look_at_chain(client, domain)).leaf


async def look_at_chain(client: LocalAPI, domain: str) -> CertChain:
    """Return the same with its chain."""
    return await client.cert(domain, min_validity=_SECOND, patience=_LOOK_PATIENCE)


async def look_at_pair(client: LocalAPI, domain: str) -> CertPair:
    """Return the same with its chain and its private key."""
    return await client.cert_pair(domain, min_validity=_SECOND, patience=_LOOK_PATIENCE)


async def renew(
    client: LocalAPI,
    domain: str,
    old: Certificate,
    *,
    known: Certificate | None,
    clock: Clock,
    patience: timedelta,
) -> Certificate:
    """Have a certificate replaced in the foreground; return what tailscaled gives afterwards.

    Args:
        client: the LocalAPI.
        domain: the name.
        old: the certificate that tailscaled has, seen just now.
        known: the certificate that was to be replaced; where that has happened meanwhile, nothing is asked.
        clock: the present time.
        patience: how long the renewal may take.

    Raises:
        StaleCertificateError: tailscaled reports a success, and there is no new certificate.
    """
    now = clock()
    if known is not None and old.fingerprint != known.fingerprint and not _is_due(old, now):
        return old
    await _ask(client, domain, max(old.not_after - now, _SECOND) + _SECOND, patience)
    new = await look(client, domain)
    if new.fingerprint == old.fingerprint:
        end = local_time(old.not_after)
        raise StaleCertificateError(
            f"tailscaled reported a renewal and still gives the certificate valid until {end}"
        )
    if _is_due(new, clock()):
        raise StaleCertificateError(
            f"the new certificate, valid until {local_time(new.not_after)}, is due already"
        )
    return new


async def issue(client: LocalAPI, domain: str, *, clock: Clock, patience: timedelta) -> Certificate:
    """Have a certificate issued, unless there is a valid one that was not known.

    Raises:
        StaleCertificateError: the certificate that tailscaled gives is over.
    """
    leaf = await _ask(client, domain, _SECOND, patience)
    if leaf.not_after <= clock():
        raise StaleCertificateError(
            f"tailscaled gives a certificate that ended at {local_time(leaf.not_after)}"
        )
    return leaf


async def _ask(client: LocalAPI, domain: str, min_validity: timedelta, patience: timedelta) -> Certificate:
    return (await client.cert(domain, min_validity=min_validity, patience=patience)).leaf


def _is_due(leaf: Certificate, now: datetime) -> bool:
    """Return whether a certificate is due whose window is not known yet."""
    return now >= due_time(leaf, None)[0]
