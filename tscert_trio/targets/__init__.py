"""Where a certificate goes, and who is told: each is "put this certificate there".

No memory and no retries are in here: a call does one thing once and says what came of it
(``docs/design.rst``, rule 14).
"""

from .files import FilesTarget, Written
from .files_settings import FilePaths, FileSettings, FilesSettings, Layout
from .writing import FileWritten, check_writable, write_file

__all__ = [
    "FilePaths",
    "FileSettings",
    "FileWritten",
    "FilesSettings",
    "FilesTarget",
    "Layout",
    "Written",
    "check_writable",
    "write_file",
]
