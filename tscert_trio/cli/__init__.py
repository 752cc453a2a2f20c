"""The command ``tscert-trio``."""

from .main import main

__all__ = ["main"]
