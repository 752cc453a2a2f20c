"""Where a certificate goes, and who is told: each is "put this certificate there".

No memory and no retries are in here: a call does one thing once and says what came of it
(``docs/design.rst``, rule 14).
"""

from .files import FilesTarget, Written
from .hook import run_hook
from .hook_environment import certificate_environment, coalesced_environments, open_lineage
from .looking import check_program, look_writable
from .paths import FilePaths
from .probe import PROBE_DELAYS, Probed, Served, probe, probe_until_new
from .reload import check_signal_target, reload_unit, send_signal, unit_state
from .writing import FileWritten, check_writable, write_file

__all__ = [
    "PROBE_DELAYS",
    "FilePaths",
    "FileWritten",
    "FilesTarget",
    "Probed",
    "Served",
    "Written",
    "certificate_environment",
    "check_program",
    "check_signal_target",
    "check_writable",
    "coalesced_environments",
    "look_writable",
    "open_lineage",
    "probe",
    "probe_until_new",
    "reload_unit",
    "run_hook",
    "send_signal",
    "unit_state",
    "write_file",
]
