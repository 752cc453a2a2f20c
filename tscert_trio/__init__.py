"""Keeps the TLS certificates of a Tailscale node's HTTPS names issued and renewed, on Trio.

::

    async with LocalClient() as client, open_cert_manager(client) as manager:
        manager.ensure_cert_loops(ServeConfig.from_json(text))
        await trio.sleep_forever()
"""

from .ari import RenewalInfo, RenewalInfoClient, RenewalInfoSource
from .cert_manager import CertManager
from .certificate import CertChain, Certificate, CertPair
from .clock import Clock, system_clock
from .delivery_record import DeliveryState
from .errors import (
    AccessDeniedError,
    AccountError,
    AccountMismatchError,
    AlreadyReplacedError,
    CATroubleError,
    CAUnreachableError,
    ConnectionLostError,
    ControlError,
    HookError,
    InvalidDomainError,
    IssuanceError,
    IssuanceTimeoutError,
    LocalAPIError,
    NotACertDomainError,
    PausedError,
    ProtocolError,
    RateLimit,
    RateLimitedError,
    ReadOnlyStoreError,
    RenewalInfoError,
    ServeConfigError,
    SettingsError,
    SourceError,
    StaleCertificateError,
    StateError,
    StateFolderHeldError,
    StorageError,
    TargetError,
    TscertError,
    UnreachableError,
    ValidationError,
)
from .journal import Attempt, Journal
from .localapi import FetchedServeConfig, LocalAPI, LocalClient, Status
from .opening import open_cert_manager
from .schedule import (
    LETS_ENCRYPT,
    NO_LIMITS,
    Bucket,
    CALimits,
    DueReason,
    Mode,
    RenewalWindow,
    RetryPolicy,
)
from .serve_config import DomainFilter, Scope, ServeConfig
from .statistics import (
    CertManagerStatistics,
    DeliveryStatistics,
    DomainState,
    DomainStatistics,
    LimitStatistics,
)
from .target_settings import (
    FileSettings,
    FilesSettings,
    HookSettings,
    ProbeSettings,
    SignalSettings,
    TargetSettings,
)

__all__ = [
    "LETS_ENCRYPT",
    "NO_LIMITS",
    "AccessDeniedError",
    "AccountError",
    "AccountMismatchError",
    "AlreadyReplacedError",
    "Attempt",
    "Bucket",
    "CALimits",
    "CATroubleError",
    "CAUnreachableError",
    "CertChain",
    "CertManager",
    "CertManagerStatistics",
    "CertPair",
    "Certificate",
    "Clock",
    "ConnectionLostError",
    "ControlError",
    "DeliveryState",
    "DeliveryStatistics",
    "DomainFilter",
    "DomainState",
    "DomainStatistics",
    "DueReason",
    "FetchedServeConfig",
    "FileSettings",
    "FilesSettings",
    "HookError",
    "HookSettings",
    "InvalidDomainError",
    "IssuanceError",
    "IssuanceTimeoutError",
    "Journal",
    "LimitStatistics",
    "LocalAPI",
    "LocalAPIError",
    "LocalClient",
    "Mode",
    "NotACertDomainError",
    "PausedError",
    "ProbeSettings",
    "ProtocolError",
    "RateLimit",
    "RateLimitedError",
    "ReadOnlyStoreError",
    "RenewalInfo",
    "RenewalInfoClient",
    "RenewalInfoError",
    "RenewalInfoSource",
    "RenewalWindow",
    "RetryPolicy",
    "Scope",
    "ServeConfig",
    "ServeConfigError",
    "SettingsError",
    "SignalSettings",
    "SourceError",
    "StaleCertificateError",
    "StateError",
    "StateFolderHeldError",
    "Status",
    "StorageError",
    "TargetError",
    "TargetSettings",
    "TscertError",
    "UnreachableError",
    "ValidationError",
    "open_cert_manager",
    "system_clock",
]
