"""How Sphinx makes the site, and the man page: ``nox -s docs``."""

import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "tscert-trio"
author = "the tscert-trio authors"
version = release = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "tscert"]
exclude_patterns = ["_build"]
default_role = "py:obj"  # `name` in a docstring
smartquotes = False  # "--option" is to stay two dashes
show_authors = False

autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "separated"
autodoc_preserve_defaults = True
napoleon_use_ivar = True

# Without a network other projects' names cannot be looked up, and what is not public has no page.
nitpick_ignore_regex = [(r"py:.*", r"(?!tscert_trio\.(sandbox\.)?([A-Z]\w+|open_\w+)$).*")]

html_theme = "furo"
html_title = f"tscert-trio {release}"
html_copy_source = False
html_show_sphinx = False

man_pages = [
    ("reference/command-line", "tscert-trio", "keep the TLS certificates of tailnet names fresh", "", 1),
]
