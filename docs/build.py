"""Build the documentation: `make docs`.

Pages are the Markdown files of this directory. A line `<!-- include NAME -->` is replaced by text
that `docs/reference.py` makes from the code, so that a reference page cannot be out of date. The
pages go to build/docs/pages, the site that Zensical makes of them to build/docs/site.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from reference import INCLUDES

DOCS = Path(__file__).parent
ROOT = DOCS.parent
OUT = ROOT / "build" / "docs"
REPOSITORY = "https://github.com/rdv-project/rdv/blob/main"
COPIES = {
    "architecture.md": "ARCHITECTURE.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "reference/codes.md": "CODES.md",
    "reference/format.md": "rdv/stream/FORMAT.md",
}
"""Pages that are files elsewhere in the repository."""

_INCLUDE = re.compile(r"^<!-- include ([\w-]+) -->$", re.MULTILINE)
_LINK = re.compile(r"(\]\()([^)#\s]+)((?:#[^)\s]*)?\))")


def pages() -> dict[str, str]:
    """Every page's Markdown by its path below the site's root, all includes filled in."""
    found = {
        path.relative_to(DOCS).as_posix(): (path, path.relative_to(ROOT).as_posix())
        for path in sorted(DOCS.rglob("*.md"))
    }
    for page, source in COPIES.items():
        found[page] = (ROOT / source, source)
    homes = {source: page for page, (_, source) in found.items()}
    return {
        page: _relink(_include(path.read_text(encoding="utf-8")), page, source, homes)
        for page, (path, source) in found.items()
    }


def _include(text: str) -> str:
    return _INCLUDE.sub(lambda match: INCLUDES[match[1]]().strip("\n"), text)


def _relink(text: str, page: str, source: str, homes: dict[str, str]) -> str:
    """Links to files of the repository become links to their pages, else to the repository."""

    def link(match: re.Match[str]) -> str:
        target = match[2]
        if "://" in target or target.startswith("mailto:"):
            return match[0]
        meant = os.path.normpath(os.path.join(os.path.dirname(source), target))
        if meant in homes:
            there = os.path.relpath(homes[meant], os.path.dirname(page) or ".")
        elif meant.endswith(".svg") and (ROOT / meant).is_file():
            there = os.path.relpath(os.path.relpath(meant, "docs"), os.path.dirname(page) or ".")
        elif (ROOT / meant).exists():
            there = f"{REPOSITORY}/{meant}"
        else:
            there = target  # a dead link, which the strict build names
        return f"{match[1]}{there}{match[3]}"

    return _LINK.sub(link, text)


def write_pages(out: Path) -> None:
    """Write all pages, and the pictures that they show, below `out`, which is replaced."""
    shutil.rmtree(out, ignore_errors=True)
    for page, text in pages().items():
        (out / page).parent.mkdir(parents=True, exist_ok=True)
        (out / page).write_text(text, encoding="utf-8")
    for picture in DOCS.rglob("*.svg"):
        place = out / picture.relative_to(DOCS)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(picture, place)


def main() -> int:
    """Build the site; a warning or a dead link is an error. Returns the exit code."""
    write_pages(OUT / "pages")
    shutil.copyfile(DOCS / "zensical.toml", OUT / "zensical.toml")
    zensical = Path(sys.executable).with_name("zensical")
    done = subprocess.run(
        [str(zensical), "build", "--strict", "--clean", "-f", "zensical.toml"], cwd=OUT, check=False
    )
    if not done.returncode:
        print(f"the documentation is in {OUT / 'site' / 'index.html'}")  # noqa: T201
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
