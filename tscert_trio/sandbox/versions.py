"""What differs between releases of tailscaled, one row each.

Seen on the real programs, or read in their source where a comment says so.
"""

from __future__ import annotations

import attrs

__all__ = ["VERSIONS", "SandboxVersion"]


@attrs.frozen(kw_only=True)
class SandboxVersion:
    """How one release of tailscaled behaves where the others differ."""

    version: str
    """Such as ``1.104.5``."""
    capability: int
    """``tailcfg.CurrentCapabilityVersion``, sent as ``Tailscale-Cap``."""

    # Endpoints
    has_cert_domains: bool
    """Whether ``cert-domains`` and ``dns-config`` exist."""

    # Certificates
    checks_list_first: bool
    """Whether a name must be among the CertDomains before even a stored certificate is given."""
    knows_wildcards: bool
    trims_trailing_dot: bool
    locks_per_domain: bool
    """One lock for each name, instead of one for all."""
    answers_429: bool
    """A rate limit of the CA is answered with status 429 and ``Retry-After``, instead of 500."""
    shows_problem: bool
    """The text of an invalid order has the CA's problem (``tempfork/acme/types.go``)."""
    one_background_renewal: bool
    """At most one per name at a time; before, each plain call for a due certificate starts another."""
    shows_read_cause: bool
    """In read-only share mode the text says why nothing could be read; before: ``%!w(<nil>)``."""
    has_refresh_loop: bool
    """Renews the names of its serve config by itself, every hour."""
    warns_of_pending: bool
    """Has the health warning ``Fetching TLS certificate via ACME for``."""

    # Bus
    sends_netmap: bool
    """A change of CertDomains sends a ``NetMap`` with all peers."""
    sends_self_change: bool
    """A change of CertDomains sends a ``SelfChange``."""
    initial_self_change: bool
    """With mask bit 8 the first message has a ``SelfChange`` too."""
    has_initial_status: bool
    """Mask bit 16384 is known."""
    initial_status_has_peers: bool
    """It lists the peers even when no bit asks for changes of peers."""
    refuses_unhidden_keys: bool
    """A caller without write access must set mask bit 16."""
    refuses_in_process_bit: bool
    """Mask bit 65536 is refused."""
    refuses_mixed_rate_limit: bool
    """Mask bit 256 is refused beside the bits of the newer subscriptions."""
    refuses_old_bits: bool
    """Mask bits 8 and 256 are refused."""
    ends_lagging_watch: bool
    """A watcher that reads too slowly is told and cut off; before, it loses messages silently."""
    peer_bytes: int
    """About how long one peer is in a ``NetMap``, where there is one."""


_1_86 = SandboxVersion(
    version="1.86.5",
    capability=123,
    has_cert_domains=False,
    checks_list_first=False,
    knows_wildcards=False,
    trims_trailing_dot=False,
    locks_per_domain=False,
    answers_429=False,
    shows_problem=False,
    one_background_renewal=False,
    shows_read_cause=False,
    has_refresh_loop=False,
    warns_of_pending=False,
    sends_netmap=True,
    sends_self_change=False,
    initial_self_change=False,
    has_initial_status=False,
    initial_status_has_peers=False,
    refuses_unhidden_keys=True,
    refuses_in_process_bit=False,
    refuses_mixed_rate_limit=False,
    refuses_old_bits=False,
    ends_lagging_watch=False,
    peer_bytes=1266,
)
_1_98 = attrs.evolve(
    _1_86,
    version="1.98.10",
    capability=138,
    has_cert_domains=True,
    checks_list_first=True,
    knows_wildcards=True,
    sends_self_change=True,
    refuses_unhidden_keys=False,
    peer_bytes=1076,
)
_1_100 = attrs.evolve(
    _1_98,
    version="1.100.0",
    capability=141,
    has_refresh_loop=True,
    warns_of_pending=True,
    sends_netmap=False,
    initial_self_change=True,
    has_initial_status=True,
    initial_status_has_peers=True,
)
_1_102 = attrs.evolve(
    _1_100,
    version="1.102.5",
    capability=142,
    trims_trailing_dot=True,
    locks_per_domain=True,
    answers_429=True,
    shows_problem=True,
    one_background_renewal=True,
    shows_read_cause=True,
    refuses_in_process_bit=True,
    refuses_mixed_rate_limit=True,
    ends_lagging_watch=True,
)
_1_104 = attrs.evolve(
    _1_102,
    version="1.104.5",
    capability=148,
    initial_status_has_peers=False,
    refuses_old_bits=True,
)

VERSIONS: dict[str, SandboxVersion] = {row.version: row for row in (_1_86, _1_98, _1_100, _1_102, _1_104)}
"""The releases that can be imitated, oldest first."""
