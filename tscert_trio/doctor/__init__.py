"""What keeps certificates from being had, and what to do about it: looked at, never touched."""

from .finding import Finding, Level
from .run import examine

__all__ = ["Finding", "Level", "examine"]
