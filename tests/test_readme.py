"""Check that the README is short and every command documented; test_snippets runs its examples."""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).parent.parent
LINES_MAX = 150


def documentation() -> str:
    return "\n".join(path.read_text() for path in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")])


def test_the_readme_is_read_to_its_end():
    assert len((ROOT / "README.md").read_text().splitlines()) <= LINES_MAX


def test_every_command_is_in_the_documentation():
    from rdv.commands.app import RootGroup
    from rdv.commands.stream import StreamGroup

    text = documentation()
    for name in RootGroup.table.keys() - {"component"}:
        assert f"rdv {name}" in text, name
    changelog = (ROOT / "CHANGELOG.md").read_text()
    for name in StreamGroup.table:
        assert name in changelog, name


def test_the_pictures_are_drawings_by_themselves():
    for name in re.findall(r"!\[[^]]+\]\(([^)]+)\)", (ROOT / "README.md").read_text()):
        drawing = ET.parse(ROOT / name)
        assert drawing.getroot().tag.endswith("svg")
        assert "url(http" not in (ROOT / name).read_text()
