"""Check that a version is downloaded whole, within limits, and never from or to elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from registry import MLMODEL, FakeRegistry, fake_registry

from rdv.decision.registry import RegistryUri, version_folder
from rdv.errors import RdvError
from rdv.mlflow.client import Registry, without_secrets
from rdv.mlflow.download import FILES_MAX, damage, download, prune
from rdv.mlflow.errors import (
    ArtifactsUnusable,
    NotInRegistry,
    NoTrackingUri,
    RegistryDenied,
    RegistryUnreachable,
    UnusableTrackingUri,
)

CHAMPION = RegistryUri("fraud", "champion", "")


def take(
    registry: FakeRegistry, place: Path, bytes_max: int = 10**6, environ: dict | None = None
) -> Path:
    with Registry(registry.url, environ or {}, 5000) as client:
        found = client.version_of(CHAMPION)
        return place / download(client, str(place), found, bytes_max, environ or {})


def leftovers(place: Path) -> list[str]:
    return [path.name for path in place.glob("models/.mlflow/*/.partial*")]


def test_files_in_folders_are_downloaded_once(registry, tmp_path):
    registry.versions["1"] = {"MLmodel": MLMODEL, "code/shop/x.py": b"1", "a b#?.bin": b"\0" * 9999}
    folder = take(registry, tmp_path)
    assert (folder / "code/shop/x.py").read_bytes() == b"1"
    assert (folder / "a b#?.bin").read_bytes() == b"\0" * 9999
    assert damage(str(folder)) == ""
    count = len(registry.requests)
    assert take(registry, tmp_path) == folder
    assert len(registry.requests) == count + 1
    assert leftovers(tmp_path) == []


def test_a_damaged_download_and_a_version_made_anew_are_downloaded_again(registry, tmp_path):
    folder = take(registry, tmp_path)
    (folder / "MLmodel").write_bytes(b"something else")
    assert damage(str(folder)) == "MLmodel"
    take(registry, tmp_path)
    assert (folder / "MLmodel").read_bytes() == MLMODEL
    registry.stamp, registry.versions["1"]["new"] = "2", b"new"
    take(registry, tmp_path)
    assert (folder / "new").read_bytes() == b"new"


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "", ".", "a\\b", "a\0b", None, 3])
def test_a_name_that_leads_elsewhere_is_refused(registry, tmp_path, name):
    registry.listing = [{"path": name, "is_dir": False, "file_size": 1}]
    with pytest.raises(ArtifactsUnusable, match="unusable name"):
        take(registry, tmp_path)
    assert leftovers(tmp_path) == []


def test_what_is_too_large_or_too_much_or_nested_too_deep_is_refused(registry, tmp_path):
    registry.versions["1"]["model.pkl"] = b"x" * 2000
    with pytest.raises(ArtifactsUnusable, match="larger than 1,000 bytes"):
        take(registry, tmp_path, 1000)
    registry.listing = [{"path": f"d{number}", "is_dir": True} for number in range(FILES_MAX + 2)]
    with pytest.raises(ArtifactsUnusable, match="nested too deep, or too many"):
        take(registry, tmp_path)
    registry.listing = [{"path": "d", "is_dir": True}]  # in itself, for ever
    with pytest.raises(ArtifactsUnusable, match="nested too deep"):
        take(registry, tmp_path)
    assert leftovers(tmp_path) == []


def test_a_file_that_is_cut_off_is_refused(registry, tmp_path):
    registry.versions["1"]["model.pkl"] = b"x" * 10
    registry.sizes["model.pkl"] = 20
    with pytest.raises(ArtifactsUnusable, match="has 10 bytes, and should have 20"):
        take(registry, tmp_path)
    assert not (tmp_path / version_folder("fraud", "1")).exists()


def test_what_is_no_mlflow_model_is_refused(registry, tmp_path):
    registry.versions["1"] = {"model.pkl": b"x"}
    with pytest.raises(ArtifactsUnusable, match="no file MLmodel"):
        take(registry, tmp_path)


def test_a_folder_on_this_machine_is_copied_and_another_is_refused_with_advice(registry, tmp_path):
    store = tmp_path / "store"
    (store / "code").mkdir(parents=True)
    (store / "MLmodel").write_bytes(MLMODEL)
    (store / "code" / "x.py").write_text("1")
    (store / "link").symlink_to("/etc/passwd")
    registry.source = store.as_uri()
    folder = take(registry, tmp_path)
    names = sorted(p.name for p in folder.rglob("*") if p.is_file())
    assert names == [".rdv-manifest.json", "MLmodel", "x.py"]
    registry.source, registry.stamp = "/nowhere/at/all", "2"
    with pytest.raises(ArtifactsUnusable, match="not on this machine") as caught:
        take(registry, tmp_path)
    assert "--artifacts-destination" in caught.value.hint()
    assert folder.is_dir()


def test_another_store_needs_mlflow_and_says_so(registry, tmp_path):
    registry.source = "s3://bucket/fraud"
    with pytest.raises(ArtifactsUnusable, match="MLflow cannot download it") as caught:
        take(registry, tmp_path)
    assert "pip install 'rdv[mlflow]'" in caught.value.hint()


def test_another_servers_proxy_does_not_get_the_token(registry, tmp_path):
    with fake_registry() as other:
        other.add("1")
        registry.token = "secret"
        registry.source = f"mlflow-artifacts://{other.url.removeprefix('http://')}/0/fraud/1"
        take(registry, tmp_path, environ={"MLFLOW_TRACKING_TOKEN": "secret"})
        assert other.requests
        assert not any("authorization" in headers for headers in other.headers)


def test_old_versions_are_deleted_but_not_those_in_use(tmp_path):
    folder = tmp_path / "models/.mlflow/fraud"
    for version in ("1", "2", "3", "9", "10", ".partial-old", ".partial-new"):
        (folder / version).mkdir(parents=True)
    os.utime(folder / ".partial-old", (0, 0))
    prune(str(tmp_path), "fraud", ["1"], 2)
    # A new one may be the download of an `rdv model add` that is under way.
    assert sorted(path.name for path in folder.iterdir()) == [".partial-new", "1", "10", "9"]


def ask(url: str, environ: dict | None = None, alias: str = "champion") -> RdvError:
    with pytest.raises(RdvError) as caught, Registry(url, environ or {}, 500) as client:
        client.version_of(RegistryUri("fraud", alias, ""))
    assert "secret" not in caught.value.text() + caught.value.hint()
    return caught.value


def test_every_failure_of_the_server_has_its_error(registry):
    address = registry.url.removeprefix("http://")
    assert isinstance(ask(registry.url, alias="nix"), NotInRegistry)
    registry.token = "right"
    for url, environ in [
        (registry.url, {"MLFLOW_TRACKING_TOKEN": "secret"}),
        (f"http://me:secret@{address}", {}),
        (registry.url, {"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "secret"}),
    ]:
        assert isinstance(ask(url, environ), RegistryDenied)
    sent = [headers["authorization"].split()[0] for headers in registry.headers[-3:]]
    assert sent == ["Bearer", "Basic", "Basic"]
    registry.token = ""
    registry.status = 503
    assert isinstance(ask(registry.url), RegistryUnreachable)
    registry.status = None
    for body in (b"<html>", b"[]", b"{}", b'{"model_version": {"version": "../1"}}', b"[" * 9999):
        registry.body = body
        assert isinstance(ask(registry.url), RegistryUnreachable), body


def test_a_token_with_a_line_break_at_its_end_is_used(registry):
    registry.token = "right"
    with Registry(registry.url, {"MLFLOW_TRACKING_TOKEN": "right\n"}, 5000) as client:
        assert client.version_of(CHAMPION).version == "1"


@pytest.mark.parametrize(
    "token", ["sec\nret", "secret\u00fc", "secret\x00"], ids=["line break", "umlaut", "NUL"]
)
def test_a_token_that_no_header_may_have_is_refused_and_not_shown(registry, token):
    error = ask(registry.url, {"MLFLOW_TRACKING_TOKEN": token})
    assert isinstance(error, UnusableTrackingUri)
    assert "MLFLOW_TRACKING_TOKEN" in error.text()
    assert "ret" not in error.text()


def test_certificates_that_are_not_there_are_named(registry):
    error = ask(registry.url, {"MLFLOW_TRACKING_SERVER_CERT_PATH": "/no/such/file.pem"})
    assert isinstance(error, UnusableTrackingUri)
    assert "'/no/such/file.pem': No such file" in error.text()


@pytest.mark.parametrize("url", ["sqlite:///x.db", "databricks", "http://", "http://a:b", "file:/"])
def test_what_is_no_address_of_a_server_is_named(url):
    assert isinstance(ask(url), UnusableTrackingUri)


def test_a_closed_port_and_no_address_at_all():
    assert isinstance(ask("http://me:secret@127.0.0.1:9"), RegistryUnreachable)
    assert isinstance(ask(""), NoTrackingUri)


def test_an_address_is_shown_without_user_and_password():
    assert without_secrets("http://me:secret@host:5000/x") == "http://host:5000/x"
    assert "cret" not in ask("http://me:se/cret@host:5000/x").text()
