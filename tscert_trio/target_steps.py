"""The steps of one target, as its settings say; each does one thing once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from .errors import LocalAPIError, TargetError
from .targets import (
    FilesTarget,
    Probed,
    Written,
    certificate_environment,
    coalesced_environments,
    open_lineage,
    probe_until_new,
    reload_unit,
    run_hook,
    send_signal,
)

if TYPE_CHECKING:
    from .certificate import Certificate, CertPair
    from .localapi import LocalAPI
    from .target_settings import TargetSettings

__all__ = ["TargetSteps"]


@attrs.frozen
class TargetSteps:
    """What a target does. All of it raises TargetError where it fails.

    Args:
        settings: of the target.
        client: knows the node's own addresses.
    """

    _settings: TargetSettings
    _client: LocalAPI

    @property
    def files(self) -> FilesTarget | None:
        """The files, if it has any."""
        return FilesTarget(self._settings.files) if self._settings.files is not None else None

    @property
    def needs_key(self) -> bool:
        """Whether the certificate is to be asked for with its key."""
        hook, files = self._settings.hook, self.files
        return (files is not None and files.needs_key) or (hook is not None and not hook.coalesce)

    @property
    def are_shared(self) -> bool:
        """Whether there is something that is done once for all names that changed together."""
        settings = self._settings
        is_coalesced = settings.hook is not None and settings.hook.coalesce
        return is_coalesced or settings.reload is not None or settings.signal is not None

    def write(self, domain: str, pair: CertPair) -> Written:
        """Write the files."""
        assert self.files is not None
        return self.files.write(domain, pair)

    def holds(self, domain: str, leaf: Certificate) -> bool:
        """Return whether the files, if it has any, hold this certificate."""
        return self.files is None or self.files.holds(domain, leaf)

    async def run_hook(self, domain: str, pair: CertPair) -> str:
        """Run the hook of one name; return the end of what it wrote."""
        assert self._settings.hook is not None
        paths = self.files.paths(domain) if self.files is not None else None
        with open_lineage(domain, pair) as lineage:
            environ = certificate_environment(domain, pair.leaf, lineage, paths)
            return await run_hook(self._settings.hook, environ)

    async def announce(self, domains: list[str]) -> str:
        """Do what is done once for all names that changed together; return what a hook wrote."""
        settings, output = self._settings, ""
        if settings.hook is not None and settings.hook.coalesce:
            for environ in coalesced_environments(domains):
                output = await run_hook(settings.hook, environ)
        if settings.reload is not None:
            await reload_unit(settings.reload)
        if settings.signal is not None:
            send_signal(settings.signal.pidfile, settings.signal.signal)
        return output

    async def host(self) -> str:
        """Return where the probe goes: by default the node's own Tailscale address."""
        settings = self._settings.probe
        assert settings is not None
        if settings.host is not None:
            return settings.host
        try:
            addresses = (await self._client.status()).addresses
        except LocalAPIError as exc:
            raise TargetError(f"the node's own address is not known: {exc}") from None
        if not addresses:
            raise TargetError("the node has no Tailscale address yet; log in with: tailscale up")
        return addresses[0]

    async def probe(self, host: str, domain: str, leaf: Certificate, *, before: str | None) -> Probed:
        """Look until the server serves the certificate, or gives no hope for now."""
        settings = self._settings.probe
        assert settings is not None
        return await probe_until_new(
            host, settings.port, domain, leaf=leaf, before=before, timeout=settings.timeout
        )
