"""What ``import tscert_trio`` gives, and what it takes."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tscert_trio


@pytest.mark.parametrize("name", tscert_trio.__all__)
def test_every_public_name_can_be_had(name):
    assert getattr(tscert_trio, name) is not None
    assert name in dir(tscert_trio)


def test_type_checkers_are_told_the_same_places():
    tree = ast.parse(Path(tscert_trio.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    imported = {f".{node.module}": tuple(alias.name for alias in node.names) for node in block.body}
    assert imported == tscert_trio._MODULES
    assert sorted(tscert_trio._PLACES) == sorted(tscert_trio.__all__)


def test_what_there_is_not_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'tscert_trio' has no attribute 'nothing'"):
        tscert_trio.nothing  # noqa: B018


def test_the_import_alone_loads_nothing_heavy():
    code = (
        "import sys, tscert_trio; "
        "print([name for name in ('trio', 'httpx', 'cryptography', 'attrs') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
