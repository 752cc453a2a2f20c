"""What was tried, and what came of it. It survives a restart."""

from .attempt import Attempt, DeliveryEvent
from .folder import default_state_folder, open_state_folder
from .queries import Memories
from .reading import holder_of, open_for_reading
from .sqlite import Journal

__all__ = [
    "Attempt",
    "DeliveryEvent",
    "Journal",
    "Memories",
    "default_state_folder",
    "holder_of",
    "open_for_reading",
    "open_state_folder",
]
