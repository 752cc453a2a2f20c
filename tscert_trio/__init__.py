"""Keeps the TLS certificates of a Tailscale node's HTTPS names issued and renewed, on Trio.

::

    async with LocalClient() as client, open_cert_manager(client) as manager:
        manager.ensure_cert_loops(ServeConfig.from_json(text))
        await trio.sleep_forever()

A name is imported when it is asked for, since all of them take a third of a second, and a command that only
asks the service needs none.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
        NoAnswerError,
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
    from .journal import Attempt, DeliveryEvent, Journal
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
        RequestStatistics,
        SourceStatistics,
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
    "DeliveryEvent",
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
    "NoAnswerError",
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
    "RequestStatistics",
    "RetryPolicy",
    "Scope",
    "ServeConfig",
    "ServeConfigError",
    "SettingsError",
    "SignalSettings",
    "SourceError",
    "SourceStatistics",
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

_MODULES = {
    ".ari": ("RenewalInfo", "RenewalInfoClient", "RenewalInfoSource"),
    ".cert_manager": ("CertManager",),
    ".certificate": ("CertChain", "Certificate", "CertPair"),
    ".clock": ("Clock", "system_clock"),
    ".delivery_record": ("DeliveryState",),
    ".errors": (
        "AccessDeniedError",
        "AccountError",
        "AccountMismatchError",
        "AlreadyReplacedError",
        "CATroubleError",
        "CAUnreachableError",
        "ConnectionLostError",
        "ControlError",
        "HookError",
        "InvalidDomainError",
        "IssuanceError",
        "IssuanceTimeoutError",
        "LocalAPIError",
        "NoAnswerError",
        "NotACertDomainError",
        "PausedError",
        "ProtocolError",
        "RateLimit",
        "RateLimitedError",
        "ReadOnlyStoreError",
        "RenewalInfoError",
        "ServeConfigError",
        "SettingsError",
        "SourceError",
        "StaleCertificateError",
        "StateError",
        "StateFolderHeldError",
        "StorageError",
        "TargetError",
        "TscertError",
        "UnreachableError",
        "ValidationError",
    ),
    ".journal": ("Attempt", "DeliveryEvent", "Journal"),
    ".localapi": ("FetchedServeConfig", "LocalAPI", "LocalClient", "Status"),
    ".opening": ("open_cert_manager",),
    ".schedule": (
        "LETS_ENCRYPT",
        "NO_LIMITS",
        "Bucket",
        "CALimits",
        "DueReason",
        "Mode",
        "RenewalWindow",
        "RetryPolicy",
    ),
    ".serve_config": ("DomainFilter", "Scope", "ServeConfig"),
    ".statistics": (
        "CertManagerStatistics",
        "DeliveryStatistics",
        "DomainState",
        "DomainStatistics",
        "LimitStatistics",
        "RequestStatistics",
        "SourceStatistics",
    ),
    ".target_settings": (
        "FileSettings",
        "FilesSettings",
        "HookSettings",
        "ProbeSettings",
        "SignalSettings",
        "TargetSettings",
    ),
}
"""Where each name is; the imports above say the same to type checkers."""
_PLACES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_PLACES[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
