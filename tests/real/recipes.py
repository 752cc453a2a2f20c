"""The configurations in ``docs/recipes.rst``, so that what runs in tests is what the documentation says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

RECIPES = Path(__file__).parents[2] / "docs" / "recipes.rst"
DOMAIN, FOLDER = "box.tail1234.ts.net", "/etc/ssl/tailnet"
"""The name, and where its files are, in the recipes."""


def recipe(name: str) -> str:
    """Return the code block of the recipes that has this name."""
    found = re.search(
        rf"^\.\. code-block:: \S+\n   :name: {name}\n\n((?:   .*\n|\n)+)", RECIPES.read_text(), re.MULTILINE
    )
    assert found, f"docs/recipes.rst has no code block named {name}"
    return re.sub(r"^   ", "", found[1], flags=re.MULTILINE).strip() + "\n"


def replaced(text: str, replacements: Mapping[str, str]) -> str:
    """Replace each of these, which must be there."""
    for old, new in replacements.items():
        assert old in text, f"{old!r} is not in\n{text}"
        text = text.replace(old, new)
    return text
