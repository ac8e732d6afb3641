"""Check that MLflow's own variables open its server, and each connection to it, as for MLflow."""

from __future__ import annotations

import base64
import ssl
import subprocess
from pathlib import Path

import pytest
from registry import FakeRegistry, fake_registry

from rdv.decision.registry import RegistryUri
from rdv.errors import RdvError
from rdv.mlflow.client import Registry
from rdv.mlflow.download import download
from rdv.mlflow.errors import RegistryDenied, RegistryUnreachable, UnusableTrackingUri

CHAMPION = RegistryUri("fraud", "champion", "")
INSECURE = "MLFLOW_TRACKING_INSECURE_TLS"
AUTHORITY = "MLFLOW_TRACKING_SERVER_CERT_PATH"
OWN = "MLFLOW_TRACKING_CLIENT_CERT_PATH"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a certificate for 127.0.0.1; its key is beside it, and in `both.pem` with it."""
    place = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    command += " -subj /CN=rdv -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem"
    subprocess.run(command.split(), cwd=place, check=True, capture_output=True)
    both = (place / "cert.pem").read_text() + (place / "key.pem").read_text()
    (place / "both.pem").write_text(both)
    locked = "openssl ec -in key.pem -aes256 -passout pass:secret -out locked.pem"
    subprocess.run(locked.split(), cwd=place, check=True, capture_output=True)
    with open(place / "locked.pem", "a") as file:
        file.write((place / "cert.pem").read_text())
    return place


def context(place: Path, *, asks: bool = False) -> ssl.SSLContext:
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    found.load_cert_chain(place / "cert.pem", place / "key.pem")
    if asks:
        found.verify_mode = ssl.CERT_REQUIRED
        found.load_verify_locations(place / "cert.pem")
    return found


def with_version(registry: FakeRegistry) -> FakeRegistry:
    registry.add("1")
    registry.aliases["champion"] = "1"
    return registry


def take(registry: FakeRegistry, place: Path, environ: dict[str, str]) -> None:
    with Registry(registry.url, environ, 5000) as client:
        found = client.version_of(CHAMPION)
        download(client, str(place), found, 10**6, environ)
    assert (place / "models/.mlflow/fraud/1/MLmodel").is_file()


@pytest.mark.parametrize("has_own_files", [True, False], ids=["one server", "two servers"])
@pytest.mark.parametrize("asks", [False, True], ids=["server", "client too"])
@pytest.mark.parametrize("by", [AUTHORITY, "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", INSECURE])
def test_each_connection_has_the_certificates_of_the_environment(
    certificate, tmp_path, by, asks, has_own_files
):
    environ = {by: "true" if by == INSECURE else str(certificate / "cert.pem")}
    if asks:
        environ[OWN] = str(certificate / "both.pem")
    with (
        fake_registry(context(certificate, asks=asks)) as registry,
        fake_registry(context(certificate, asks=asks)) as other,
    ):
        with_version(registry)
        other.add("1")
        if not has_own_files:
            place = other.url.removeprefix("https://")
            registry.source = f"mlflow-artifacts://{place}/0/fraud/{{version}}"
        take(registry, tmp_path, environ)
        assert bool(other.requests) != has_own_files


def test_a_server_without_a_known_certificate_is_refused(certificate, tmp_path):
    with fake_registry(context(certificate)) as registry, pytest.raises(RegistryUnreachable):
        take(registry, tmp_path, {})
    with (
        fake_registry(context(certificate, asks=True)) as registry,
        pytest.raises(RegistryUnreachable),
    ):
        take(registry, tmp_path, {AUTHORITY: str(certificate / "cert.pem")})


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({AUTHORITY: "key.pem"}, "no usable certificate"),
        ({AUTHORITY: "nix.pem"}, "No such file"),
        ({"REQUESTS_CA_BUNDLE": "nix.pem"}, "REQUESTS_CA_BUNDLE"),
        ({"SSL_CERT_FILE": "nix.pem"}, "SSL_CERT_FILE"),
        ({OWN: "cert.pem"}, OWN),
        ({OWN: "nix.pem"}, "No such file"),
        ({OWN: "locked.pem"}, OWN),
        ({AUTHORITY: "cert.pem", INSECURE: "1"}, "unset one"),
        ({INSECURE: "on"}, "is 'on': it is true or false"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_variables_that_cannot_be_used_are_named(certificate, environ, said):
    environ = {
        name: str(certificate / value) if value.endswith(".pem") else value
        for name, value in environ.items()
    }
    with pytest.raises(UnusableTrackingUri, match=said) as caught:
        Registry("https://127.0.0.1:9", environ, 500)
    assert next(iter(environ)) in caught.value.text()


def sent(registry: FakeRegistry, environ: dict[str, str], who: str = "") -> str:
    """Return which authorization arrives."""
    url = registry.url.replace("://", f"://{who}@") if who else registry.url
    with Registry(url, environ, 5000) as client:
        client.version_of(CHAMPION)
    kind, _, value = registry.headers[-1].get("authorization", "").partition(" ")
    return base64.b64decode(value).decode() if kind == "Basic" else value


def test_user_password_and_token_count_as_for_mlflow(registry, tmp_path):
    user, password = {"MLFLOW_TRACKING_USERNAME": "me"}, {"MLFLOW_TRACKING_PASSWORD": "geheim"}
    token = {"MLFLOW_TRACKING_TOKEN": "T"}
    assert sent(registry, {}) == ""
    assert sent(registry, user | password | token) == "me:geheim"
    assert sent(registry, user | token) == sent(registry, password | token) == "T"
    assert sent(registry, user) == ""
    assert sent(registry, user | password | token, "you:p%40ss") == "you:p@ss"
    (tmp_path / ".mlflow").mkdir()
    home = {"HOME": str(tmp_path)}
    file = tmp_path / ".mlflow" / "credentials"
    file.write_text("[mlflow]\nmlflow_tracking_username = you\nmlflow_tracking_password = 50%\n")
    assert sent(registry, home | token) == "you:50%"
    assert sent(registry, home | user) == "me:50%"
    file.write_text("mlflow_tracking_password = secret\n")
    with pytest.raises(RdvError) as caught:
        sent(registry, home)
    assert "credentials cannot be read" in caught.value.text()
    assert "secret" not in caught.value.text() + caught.value.hint()


def test_the_same_server_by_another_spelling_gets_the_token(registry, tmp_path):
    registry.token = "T"
    place = registry.url.removeprefix("http://").replace("127.0.0.1", "LOCALHOST")
    registry.url = registry.url.replace("127.0.0.1", "localhost")
    registry.source = f"mlflow-artifacts://{place}/0/fraud/1"
    take(registry, tmp_path, {"MLFLOW_TRACKING_TOKEN": "T"})


def test_a_kind_of_access_that_rdv_does_not_have_is_named_when_it_is_needed(registry):
    environ = {"MLFLOW_TRACKING_AWS_SIGV4": "true"}
    assert sent(registry, environ) == ""
    registry.token = "T"
    with pytest.raises(RegistryDenied) as caught:
        sent(registry, environ)
    assert "MLFLOW_TRACKING_AWS_SIGV4" in caught.value.hint()
