"""Check that the project's public files are complete and agree with the code."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from rdv.load.drill.plan import FAULTS

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REPOSITORY = "https://github.com/rdv-project/rdv"


def workflow(name: str) -> dict:
    return yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text())


def test_the_licence_is_the_whole_apache_licence():
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert PROJECT["license"] == "Apache-2.0"
    assert PROJECT["license-files"] == ["LICENSE"]


def test_all_urls_of_the_project_are_of_one_repository():
    assert all(url.startswith(REPOSITORY) for url in PROJECT["urls"].values())
    for path in [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *ROOT.glob(".github/**/*.yml"),
    ]:
        for url in re.findall(r"https://github\.com/[\w-]*rdv[\w-]*/[\w-]*", path.read_text()):
            assert url == REPOSITORY, path


def test_ci_runs_what_developers_run_on_every_python_that_is_declared():
    job = workflow("ci.yml")["jobs"]["test"]
    assert ".ci/run" in [step.get("run") for step in job["steps"]]
    declared = [
        line.rpartition(" ")[2]
        for line in PROJECT["classifiers"]
        if line.startswith("Programming Language :: Python :: 3.")
    ]
    assert job["strategy"]["matrix"]["python"] == declared


def test_ci_builds_the_documentation():
    runs = [step.get("run") for step in workflow("ci.yml")["jobs"]["docs"]["steps"]]
    assert "make docs" in runs


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_each_job_has_a_time_limit_and_each_action_a_version(path):
    for name, job in yaml.safe_load(path.read_text())["jobs"].items():
        assert job["timeout-minutes"], name
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step), (name, step)
            assert "@" in step.get("uses", "@"), (name, step)


def test_make_targets_that_the_files_name_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    texts = [ROOT / "CONTRIBUTING.md", ROOT / "README.md", ROOT / "ARCHITECTURE.md", *WORKFLOWS]
    for path in texts:
        for words in re.findall(
            r"(?:`|^    |run: )make ((?:[a-z][a-z-]*[ ]?)+)", path.read_text(), re.MULTILINE
        ):
            assert set(words.split()) <= targets, (path.name, words)


def test_paths_that_the_contributing_guide_names_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for path in re.findall(r"`((?:rdv|tests|docs|\.github)/[\w./-]*)`", text):
        assert "NAME" in path or (ROOT / path).exists(), path
    for path in re.findall(r"\]\(([\w./-]+)\)", text):
        assert (ROOT / path).exists(), path


def test_the_changelog_is_in_keep_a_changelog_form():
    text = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert versions[0] == "Unreleased"
    for version in versions[1:]:
        assert re.fullmatch(r"\d+\.\d+\.\d+ - (\d{4}-\d\d-\d\d|not published)", version)
    kinds = set(re.findall(r"^### (.*)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security", "Known"}


def test_every_fault_is_explained_where_the_drill_names_it():
    plan = (ROOT / "rdv" / "load" / "drill" / "plan.py").read_text()
    for fault in FAULTS:
        assert re.search(rf"\b{fault}:", plan), fault
