"""When to ask: pure functions over what is known, and the rules of the CA's limits."""

from .budget import LETS_ENCRYPT, LONG_AGO, NO_LIMITS, Bucket, CALimits
from .ledger import AccountState, Ledger, TailnetState
from .plan import NEVER, RUNWAY_ENOUGH, Mode, Request, Step, may_look, next_step, runway
from .record import DomainRecord
from .renewal import REFRESH_INTERVAL, DueReason, RenewalWindow, due_time, is_recalled
from .retry import RetryPolicy
from .slots import SlotPriority, slot_priority

__all__ = [
    "LETS_ENCRYPT",
    "LONG_AGO",
    "NEVER",
    "NO_LIMITS",
    "REFRESH_INTERVAL",
    "RUNWAY_ENOUGH",
    "AccountState",
    "Bucket",
    "CALimits",
    "DomainRecord",
    "DueReason",
    "Ledger",
    "Mode",
    "RenewalWindow",
    "Request",
    "RetryPolicy",
    "SlotPriority",
    "Step",
    "TailnetState",
    "due_time",
    "is_recalled",
    "may_look",
    "next_step",
    "runway",
    "slot_priority",
]
