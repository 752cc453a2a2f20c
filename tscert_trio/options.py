"""The options of the service: one table for the command line, the environment and the help text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from .option_values import (
    one_of,
    parse_domains,
    parse_duration,
    parse_factor,
    parse_files,
    parse_flag,
    parse_hook,
    parse_interval,
    parse_list,
    parse_listen,
    parse_path,
    parse_probe,
    parse_scope,
    parse_text,
    parse_url,
)
from .target_checks import check_unit

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CONFIG", "OPTIONS", "TARGET_PREFIX", "Option"]

_LOG_LEVELS = ("debug", "info", "warning", "error")

TARGET_PREFIX = "target_"
"""Begins the field of an option that is a part of the one target that options describe."""


@attrs.frozen(kw_only=True)
class Option:
    """One option of ``tscert-trio run``."""

    field: str
    """Of :class:`Settings`, or a part of a target (:data:`TARGET_PREFIX`)."""
    flag: str
    """On the command line; without dashes, it is positional."""
    parse: Callable[[str], Any]
    """Raises ValueError with what would be right."""
    help: str
    metavar: str | None = None
    """``None`` for a switch."""
    is_list: bool = False
    """May be given several times; the environment separates by commas or spaces."""
    also: str | None = None
    """A variable of Tailscale's containers that is read, too."""
    is_number: bool = False
    """In a configuration file."""
    bare: str | None = None
    """What the option means where no value follows it; ``None`` where one must."""

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return "TSCERT_" + self.key.upper()

    @property
    def key(self) -> str:
        """Its name in a configuration file."""
        return self.flag.strip("-").replace("-", "_")

    @property
    def is_in_file(self) -> bool:
        """Whether a configuration file may have it; one has tables for targets."""
        return self.field != "config_file" and not self.field.startswith(TARGET_PREFIX)


CONFIG = Option(
    field="config_file", flag="--config", metavar="PATH", parse=parse_path,
    help="file with settings and targets",
)  # fmt: skip

OPTIONS = (
    Option(
        field="domains", flag="domains", metavar="DOMAIN", is_list=True, parse=parse_domains,
        help="keep a certificate for this name, besides those of the serve config",
    ),
    CONFIG,
    Option(
        field="socket", flag="--socket", metavar="PATH", parse=parse_path, also="TS_SOCKET",
        help="tailscaled's socket",
    ),
    Option(
        field="scope", flag="--scope", metavar="SCOPE", parse=parse_scope,
        help="names of the serve config to keep certificates for: services (those of Tailscale "
        "Services only, as Tailscale's own manager does) or all (the node's own, too)",
    ),
    Option(
        field="serve_config", flag="--serve-config", metavar="PATH", parse=parse_path,
        also="TS_SERVE_CONFIG", help="follow the serve config in this file instead of tailscaled's",
    ),
    Option(
        field="poll_interval", flag="--poll-interval", metavar="DURATION", parse=parse_duration,
        help="how often to ask for tailscaled's serve config when nothing hints at a change",
    ),
    Option(
        field="self_name", flag="--self", parse=parse_flag,
        help="keep a certificate for the node's own name, for hosts whose own server serves it",
    ),
    Option(
        field="only", flag="--only", metavar="PATTERN", is_list=True, parse=parse_list,
        help="ask only for names that match, such as '*.tail1234.ts.net'",
    ),
    Option(
        field="exclude", flag="--not", metavar="PATTERN", is_list=True, parse=parse_list,
        help="never ask for names that match",
    ),
    Option(
        field="refresh_interval", flag="--refresh-interval", metavar="DURATION", parse=parse_interval,
        help="how long after a look at a certificate to look again, at most",
    ),
    Option(
        field="retry_initial", flag="--retry-initial", metavar="DURATION", parse=parse_duration,
        help="how long to wait after a first failure",
    ),
    Option(
        field="retry_factor", flag="--retry-factor", metavar="NUMBER", parse=parse_factor,
        is_number=True,
        help="by how much each further wait is longer",
    ),
    Option(
        field="retry_max", flag="--retry-max", metavar="DURATION", parse=parse_duration,
        help="the longest wait after a failure",
    ),
    Option(
        field="issue_timeout", flag="--issue-timeout", metavar="DURATION", parse=parse_duration,
        help="how long tailscaled may take for one certificate",
    ),
    Option(
        field="state", flag="--state", metavar="PATH", parse=parse_path,
        help="folder for what a restart is to know, such as backoff and limits; :memory: for none",
    ),
    Option(
        field="ca_directory", flag="--ca-directory", metavar="URL", parse=parse_url,
        help="directory of the CA, to ask it when to renew, where it is not Let's Encrypt; its root "
        "certificate goes into SSL_CERT_FILE",
    ),
    Option(
        field="no_ari", flag="--no-ari", parse=parse_flag,
        help="do not ask the CA when to renew",
    ),
    Option(
        field="ca_limits", flag="--ca-limits", metavar="LIMITS", parse=one_of("letsencrypt", "none"),
        help="limits of the CA to keep: letsencrypt, or none for a CA of your own",
    ),
    Option(
        field="target_files", flag="--files", metavar="DIR", parse=parse_files,
        help="write each certificate and its key into this folder",
    ),
    Option(
        field="target_reload", flag="--reload", metavar="UNIT", parse=check_unit,
        help="reload this systemd unit after each new certificate",
    ),
    Option(
        field="target_hook", flag="--hook", metavar="COMMAND", parse=parse_hook,
        help="run this command after each new certificate; quotes count, there is no shell",
    ),
    Option(
        field="target_probe", flag="--probe", metavar="HOST:PORT", parse=parse_probe, bare="true",
        help="see that the new certificate is served, at port 443 of the node's own Tailscale address "
        "or elsewhere",
    ),
    Option(
        field="status_socket", flag="--status-socket", metavar="PATH", parse=parse_path,
        help='where to tell how it stands, to "tscert-trio status" for example; none for nowhere',
    ),
    Option(
        field="status_group", flag="--status-group", metavar="GROUP", parse=parse_text,
        help="group that may ask there, besides root and the service's own user",
    ),
    Option(
        field="listen", flag="--listen", metavar="[HOST:]PORT", parse=parse_listen,
        help="tell it over HTTP, too, read only: the page, JSON, metrics and health; without a host on "
        "127.0.0.1, such as 9410",
    ),
    Option(
        field="allowed_hosts", flag="--allowed-hosts", metavar="HOST", is_list=True, parse=parse_list,
        help="name by which browsers reach that, besides localhost and addresses; * for any",
    ),
    Option(
        field="log_format", flag="--log-format", metavar="FORMAT", parse=one_of("text", "json"),
        help="text or json",
    ),
    Option(
        field="log_level", flag="--log-level", metavar="LEVEL", parse=one_of(*_LOG_LEVELS),
        help=", ".join(_LOG_LEVELS),
    ),
)  # fmt: skip
