"""Keeps the TLS certificates of a Tailscale node's HTTPS names issued and renewed, on Trio.

::

    async with LocalClient() as client, open_cert_manager(client) as manager:
        manager.ensure_cert_loops(ServeConfig.from_json(text))
        await trio.sleep_forever()
"""

from .cert_manager import CertManager, open_cert_manager
from .certificate import CertChain, Certificate, CertPair
from .clock import Clock, system_clock
from .errors import (
    AccessDeniedError,
    AccountMismatchError,
    AlreadyReplacedError,
    ControlError,
    InvalidDomainError,
    IssuanceError,
    IssuanceTimeoutError,
    LocalAPIError,
    NotACertDomainError,
    PausedError,
    ProtocolError,
    RateLimitedError,
    ReadOnlyStoreError,
    ServeConfigError,
    SettingsError,
    SourceError,
    StorageError,
    TargetError,
    TscertError,
    UnreachableError,
    ValidationError,
)
from .journal import Attempt, Journal, MemoryJournal
from .localapi import FetchedServeConfig, LocalAPI, LocalClient, Status
from .schedule import RetryPolicy
from .serve_config import DomainFilter, Scope, ServeConfig
from .statistics import CertManagerStatistics, DomainState, DomainStatistics

__all__ = [
    "AccessDeniedError",
    "AccountMismatchError",
    "AlreadyReplacedError",
    "Attempt",
    "CertChain",
    "CertManager",
    "CertManagerStatistics",
    "CertPair",
    "Certificate",
    "Clock",
    "ControlError",
    "DomainFilter",
    "DomainState",
    "DomainStatistics",
    "FetchedServeConfig",
    "InvalidDomainError",
    "IssuanceError",
    "IssuanceTimeoutError",
    "Journal",
    "LocalAPI",
    "LocalAPIError",
    "LocalClient",
    "MemoryJournal",
    "NotACertDomainError",
    "PausedError",
    "ProtocolError",
    "RateLimitedError",
    "ReadOnlyStoreError",
    "RetryPolicy",
    "Scope",
    "ServeConfig",
    "ServeConfigError",
    "SettingsError",
    "SourceError",
    "Status",
    "StorageError",
    "TargetError",
    "TscertError",
    "UnreachableError",
    "ValidationError",
    "open_cert_manager",
    "system_clock",
]
