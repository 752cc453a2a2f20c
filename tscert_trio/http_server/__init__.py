"""A small HTTP/1.1 server: h11 over Trio's streams. It serves the status page and the sandbox.

A client that goes away, stalls, crowds or talks rubbish ends its own connection and harms nobody. A handler
that raises is a bug and takes the server down.
"""

from .messages import HangUp, Request, Response, StreamResponse
from .serving import Handler, serve_http

__all__ = ["Handler", "HangUp", "Request", "Response", "StreamResponse", "serve_http"]
