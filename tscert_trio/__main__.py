"""``python -m tscert_trio`` is ``tscert-trio``."""

import sys

from .cli import main

sys.exit(main())
