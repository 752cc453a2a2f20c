"""Sphinx directives that stand for what ``tscert_reference`` makes from the code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tscert_reference
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata


class _Part(SphinxDirective):
    """``.. tscert-options::`` and the like; without arguments."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()  # the code may have changed
        return self.parse_text_to_nodes(tscert_reference.PARTS[self.name](), allow_section_headings=True)


def _keep_colons(
    _app: Sphinx, what: str, _name: str, _object: object, _options: object, lines: list[str]
) -> None:
    """Keep napoleon from taking what stands before a colon in an attribute's first line for its type."""
    if what in {"attribute", "data", "property"}:
        lines.insert(0, "")


def setup(app: Sphinx) -> ExtensionMetadata:
    """Declare the directives."""
    app.connect("autodoc-process-docstring", _keep_colons, priority=400)  # napoleon has 500
    for name in tscert_reference.PARTS:
        app.add_directive(name, _Part)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
