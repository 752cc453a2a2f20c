"""Fetches a certificate that tailscaled has, with its key where that is needed: by a look, never an order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .cert_requests import look_at_chain, look_at_pair
from .certificate import CertPair
from .errors import LocalAPIError, TargetError

if TYPE_CHECKING:
    from .cert_loop import CertLoop, LoopContext

__all__ = ["fetch_pair"]


async def fetch_pair(context: LoopContext, loop: CertLoop, *, with_key: bool) -> CertPair:
    """Return the certificate of a cert loop's name, as tailscaled has it.

    Args:
        context: what the cert loops share.
        loop: knows whether a look is no order (``docs/design.rst``, rule 9), and is told of one that may have
            been.
        with_key: whether the key is needed; without it the pair's is empty.

    Raises:
        TargetError: tailscaled cannot be asked now, or does not give it, or gives an older one.
    """
    try:
        async with context.look_gate.slot():
            if loop.leaf_at_hand() is None:
                raise TargetError("tailscaled cannot be asked for the certificate just now")
            if with_key:
                pair = await look_at_pair(context.client, loop.domain)
            else:
                chain = await look_at_chain(context.client, loop.domain)
                pair = CertPair(chain_pem=chain.pem, key_pem=b"", leaf=chain.leaf)
    except LocalAPIError as exc:
        if exc.reached_ca is not False:
            loop.look_failed(exc)
        raise TargetError(f"{str(exc).rstrip('.')}. {exc.meaning} {exc.remedy}") from None
    wanted = loop.record.leaf
    if wanted is not None and pair.leaf.not_before < wanted.not_before:
        raise TargetError("tailscaled gives an older certificate than it had")
    return pair
