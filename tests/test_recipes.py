"""The recipes are true: their targets are targets, and their servers read what the targets write.

That the servers take the text is shown with the real programs, in ``tests/real/test_rigs.py``.
"""

import re
import tomllib
from pathlib import Path

import pytest

from tscert_trio.settings import Settings

ROOT = Path(__file__).parent.parent
RECIPES = (ROOT / "docs/recipes.rst").read_text()
DOMAIN = "box.tail1234.ts.net"

FILES = {
    "directory",
    "key",
    "certificate",
    "chain",
    "fullchain",
    "combined",
    "pkcs12",
    "pkcs12_password_file",
}


def sections():
    """Return each recipe's text by its title."""
    parts = re.split(r"^(\S.*)\n-+\n", RECIPES, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def code_blocks(text, language):
    found = re.findall(
        rf"^\.\. code-block:: {language}\n(?:   :name: .*\n)?\n((?:   .*\n|\n)+)", text, re.MULTILINE
    )
    return [re.sub(r"^   ", "", block, flags=re.MULTILINE) for block in found]


TARGETS = [
    (title, target)
    for title, text in sections().items()
    for block in code_blocks(text, "toml")
    for target in tomllib.loads(block).get("targets", ())
]


def written(target):
    """Return the paths of the files of a target, for the name of the recipes."""
    files = target.get("files", {})
    if "directory" in files:
        return {f"{files['directory']}/{DOMAIN}.{ending}" for ending in ("crt", "key")}
    return {files[kind].replace("{domain}", DOMAIN) for kind in FILES & files.keys()}


def test_each_kind_of_server_that_was_promised_has_a_recipe():
    promised = ["nginx", "HAProxy", "PostgreSQL", "A Python server"]
    promised += ["Caddy", "Postfix", "Proxmox", "Synology", "Home Assistant"]
    titles = list(sections())
    assert titles[-len(promised) :] == promised
    assert all(code_blocks(sections()[title], "toml") for title in promised)


BLOCKS = [(title, block) for title, text in sections().items() for block in code_blocks(text, "toml")]


@pytest.mark.parametrize(("title", "block"), BLOCKS)
def test_a_recipe_is_a_configuration_file(tmp_path, title, block):
    path = tmp_path / "config.toml"
    path.write_text(block)
    settings = Settings.load({"config_file": str(path)}, {})
    assert len(settings.targets) == len(tomllib.loads(block).get("targets", ()))


@pytest.mark.parametrize(
    ("title", "target"),
    [
        each for each in TARGETS if "files" in each[1] and each[0] != "Proxmox"
    ],  # whose paths are in the program
)
def test_a_server_reads_all_that_its_target_writes(title, target):
    rest = re.sub(r"\.\. code-block:: toml\n\n(?:   .*\n|\n)+", "", sections()[title])
    for path in written(target):
        assert path in rest or f"/tls/{Path(path).name}" in rest, f"{path} is not read"


@pytest.mark.parametrize(
    ("title", "target"), [each for each in TARGETS if each[0] != "Synology"]
)  # no systemd
def test_a_target_fits_its_unit(title, target):
    units = re.findall(r"Unit: ``(tscert-trio(?:-root)?)\.service``", sections()[title])
    (unit,) = units or ["tscert-trio"]  # Caddy's has both, and files for the second
    text = (ROOT / f"packaging/systemd/{unit}.service").read_text()
    if "owner" in target.get("files", {}) or title == "Proxmox":
        assert unit == "tscert-trio-root"
    may_write = re.search(r"^ReadWritePaths=(.*)$", text, re.MULTILINE)[1].replace("-/", "/").split()
    for path in written(target):
        folder = str(Path(path).parent)
        assert (
            any(path.startswith(f"{may}/") for may in may_write)
            or f"ReadWritePaths={folder}" in sections()[title]
        )


@pytest.mark.parametrize("title", ["nginx", "HAProxy"])
def test_the_polkit_rule_names_the_units_of_the_recipes_that_are_tested(title):
    (target,) = [target for of, target in TARGETS if of == title]
    assert f'"{target["reload"]}"' in (ROOT / "packaging/polkit/50-tscert-trio.rules").read_text()


def test_there_is_no_probe_of_postgresql_which_before_17_would_never_see_a_certificate():
    (target,) = [target for title, target in TARGETS if title == "PostgreSQL"]
    assert "probe" not in target
