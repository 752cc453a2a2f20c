"""Which heads of requests are refused, beside those that h11 refuses. Pure.

Refused is what two readers could understand in two ways (RFC 9112, section 11.2: request smuggling), what
is meant for a proxy, and what costs h11 too much: it takes a second of CPU for a header of 16 KiB of blanks.
"""

from __future__ import annotations

import re

import h11

__all__ = ["MAX_BODY", "MAX_HEAD", "check_head", "check_raw_head", "split_target"]

MAX_HEAD = 16 * 1024
MAX_BODY = 1024 * 1024

_REQUEST_LINE = re.compile(rb"[^ ]+ [^ ]+ HTTP/[0-9]\.[0-9]\r?")
_END = re.compile(rb"\n\r?\n")
_GAP = re.compile(rb"\n[ \t]|[ \t]{100}")
_HOST = re.compile(rb"[A-Za-z0-9!$%&'()*+,\-.:;=\[\]_~]*")  # as in Go
_ABSOLUTE = re.compile(r"https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)


def split_target(target: str) -> tuple[str | None, str]:
    """Return the host that a target names, and its path and query.

    A client that takes this server for a proxy names the host in the target, which then counts instead of
    the Host header (RFC 9112, section 3.2.2), as in Go. The host is ``None`` where the target is a path.
    """
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        return None, target
    host, rest = match.groups()
    return host, rest if rest.startswith("/") else f"/{rest}"


def check_raw_head(received: bytes) -> None:
    """Refuse a head before it is parsed.

    Args:
        received: what has come of it so far, and perhaps more that follows it.

    Raises:
        h11.RemoteProtocolError: with the status to answer as its hint.
    """
    line, is_whole, _ = received.partition(b"\n")
    if is_whole and not _REQUEST_LINE.fullmatch(line):
        raise h11.RemoteProtocolError("the first line is not one of an HTTP/1.1 request")
    end = _END.search(received)
    if (end.end() if end else len(received)) > MAX_HEAD:
        raise h11.RemoteProtocolError("the head is too large", error_status_hint=431)
    if end and _GAP.search(received, 0, end.start()):
        raise h11.RemoteProtocolError("a header is folded, or has a hundred blanks in a row")


def check_head(head: h11.Request, max_body: int = MAX_BODY) -> None:
    """Refuse a head that h11 takes.

    Args:
        head: of a request.
        max_body: how many bytes the body may have.

    Raises:
        h11.RemoteProtocolError: with the status to answer as its hint.
    """
    headers = dict(head.headers)
    host, path = split_target(head.target.decode("ascii"))
    checks = (
        (head.http_version in {b"1.0", b"1.1"}, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here"),
        (head.method != b"CONNECT", 400, "this is no proxy"),
        (path.startswith("/"), 400, "the target is not a path"),
        (host is None or (host and _HOST.fullmatch(host.encode())), 400, "the target's host is malformed"),
        (b"%00" not in head.target, 400, "there is a NUL in the target"),
        (_HOST.fullmatch(headers.get(b"host", b"")), 400, "the Host header is malformed"),
        (b"transfer-encoding" not in headers, 411, "a body needs a Content-Length, not Transfer-Encoding"),
        (int(headers.get(b"content-length", 0)) <= max_body, 413, "the body is too large"),
    )
    for is_good, status, reason in checks:
        if not is_good:
            raise h11.RemoteProtocolError(reason, error_status_hint=status)
