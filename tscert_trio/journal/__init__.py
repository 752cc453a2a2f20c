"""What was tried, and what came of it. It survives a restart."""

from .attempt import Attempt, DeliveryEvent
from .folder import default_state_folder, open_state_folder
from .sqlite import Journal, Memories

__all__ = ["Attempt", "DeliveryEvent", "Journal", "Memories", "default_state_folder", "open_state_folder"]
