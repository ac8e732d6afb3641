"""Check that the documentation is complete, its links work, and its generated parts are current."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "docs"))

# A folder called build, which remains after building the package, would change the order.
# isort: off
import man  # noqa: E402
import reference  # noqa: E402
from command_tree import command_pages  # noqa: E402

import build  # noqa: E402
# isort: on


@cache
def pages():
    """Return the text of each page, by its path."""
    return build.pages()


def anchors(text):
    heads = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def test_every_link_leads_to_a_page():
    for page, text in pages().items():
        plain = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", plain):
            if "://" in target or target.startswith("#") or target.endswith(".svg"):
                continue
            path, _, anchor = target.partition("#")
            there = os.path.normpath(os.path.join(os.path.dirname(page), path))
            assert there in pages(), (page, target)
            assert not anchor or anchor in anchors(pages()[there]), (page, target)


def test_every_page_is_in_the_navigation():
    nav = tomllib.loads((ROOT / "docs" / "zensical.toml").read_text())["project"]["nav"]

    def leaves(items):
        for item in items:
            (value,) = item.values()
            yield from [value] if isinstance(value, str) else leaves(value)

    assert set(leaves(nav)) == set(pages())


def test_links_in_the_repository_itself_lead_to_files():
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        plain = re.sub(r"```.*?```|`[^`\n]*`", "", path.read_text(), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", plain):
            assert "://" in target or (path.parent / target).exists(), (path, target)


def test_nothing_is_left_to_be_filled_in():
    for page, text in pages().items():
        assert "<!-- include" not in text, page


def test_every_command_and_option_is_in_the_reference():
    text = pages()["reference/cli.md"]
    for page in command_pages():
        assert re.search(rf"^#+ {page.name}$", text, re.MULTILINE), page.name
        assert page.help, page.name
        for name, said in [*page.arguments, *page.options]:
            assert f"`{name}`".replace("|", "\\|") in text
            assert said, (page.name, name)


def test_every_setting_has_its_row():
    from rdv.decision.sections import Http, setting_fields

    text = pages()["reference/settings.md"]
    for field in setting_fields(Http):
        assert f"`http.{field.name}`" in text


def test_every_exit_code_is_explained():
    from rdv.commands import exits

    codes = {v for name, v in vars(exits).items() if name.isupper() and type(v) is int}
    assert codes == {
        int(code) for code in re.findall(r"^\| (\d+) \|", reference.exit_codes(), re.MULTILINE)
    }


def test_every_status_code_is_listed():
    from rdv.codes import HTTP_CODES

    for code in HTTP_CODES:
        assert f"`{code}`" in pages()["reference/http.md"]


def test_man_pages_are_troff_without_a_warning(tmp_path):
    files = man.write_pages(tmp_path)
    assert {path.name for path in files} >= {"rdv.1", "rdv-serve.1", "rdv-stream-append.1"}
    for path in files:
        text = path.read_text()
        sections = re.findall(r"^\.SH (.+)$", text, re.MULTILINE)
        assert sections[:3] == ["NAME", "SYNOPSIS", "DESCRIPTION"], path.name
        assert not re.search(r"(?<!\\)-", re.sub(r"^\.TH.*$", "", text, flags=re.MULTILINE)), (
            path.name
        )
        if shutil.which("groff"):
            done = groff("-ww", "-z", str(path))
            assert done.stderr == "", path.name


def groff(*arguments):
    return subprocess.run(
        ["groff", "-man", "-Tutf8", *arguments], capture_output=True, text=True, check=True
    )
