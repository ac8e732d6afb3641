"""The README's Python runs as it stands."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    assert (tmp_path / "events" / "clicks" / "0").is_dir()


def test_every_command_is_in_the_readme():
    from rdv.commands.app import RootGroup
    from rdv.commands.stream import StreamGroup

    text = (ROOT / "README.md").read_text()
    for name in RootGroup.table.keys() - {"component"}:
        assert f"rdv {name}" in text, name
    changelog = (ROOT / "CHANGELOG.md").read_text()
    for name in StreamGroup.table:
        assert name in changelog, name
