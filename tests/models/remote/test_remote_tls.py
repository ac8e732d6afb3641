"""Check a model behind HTTPS: its certificate is verified."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading

import pytest
from model_server import ModelServer

from rdv.decision import ModelConfig
from rdv.decision.remote import Remote
from rdv.models import ModelNotLoaded
from rdv.models.remote import RemoteModel, check_server

ROWS = [b'{"x":1}', b'{"x":2}']


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    place = tmp_path_factory.mktemp("tls")
    key, path = place / "key.pem", place / "certificate.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    form = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run(
        ["openssl", "req", *form, "-keyout", key, "-out", path, "-days", "30", *subject],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key)
    return context, str(path)


def values(port, ca_file=""):
    remote = Remote(ca_file=ca_file)
    return ModelConfig(http=f"https://localhost:{port}", remote=remote).remote_values()


def test_a_certificate_is_verified(certificate):
    context, path = certificate
    with ModelServer(context=context) as server:
        model = RemoteModel("m", values(server.port, path), environ={})
        for _ in range(3):
            assert model.predict(ROWS) == [b"2", b"4"]
        large = [b'{"x":"%s"}' % (b"z" * 300_000)] * 4
        assert model.predict(large) == [b'"%s"' % (b"z" * 600_000)] * 4
        assert server.connections <= 2
        model.close()
        with pytest.raises(ModelNotLoaded, match="its certificate is not accepted"):
            check_server("m", values(server.port), {})
        with pytest.raises(ModelNotLoaded, match="ca_file"):
            RemoteModel("m", values(server.port, "/nowhere.pem"), environ={})


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"], ids=["none", "400"])
def test_a_server_without_tls_is_called_one(answer):
    def reply(listener):
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=reply, args=(listener,))
        thread.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        remote = ModelConfig(http=url, protocol="mlflow").remote_values()
        with pytest.raises(ModelNotLoaded) as caught:
            check_server("m", remote, {})
        thread.join()
    assert "TLS: no handshake" in caught.value.text()
