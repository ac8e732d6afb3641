"""Check which failures to load a model may pass by themselves: only those are tried again."""

from __future__ import annotations

import pytest

from rdv.models import ModelNotLoaded, open_model

RAISES = "def load():\n{body}\ndef predict(rows): return rows\n"


def load(tmp_path, text):
    (tmp_path / "m.py").write_text(text)
    with pytest.raises(ModelNotLoaded) as caught:
        open_model(str(tmp_path), "m", path="m.py")
    return caught.value


@pytest.mark.parametrize(
    "body",
    [
        "import socket; socket.create_connection(('127.0.0.1', 1), 1)",
        "raise TimeoutError",
        "raise MemoryError",
        "open('/nosuch/weights')",
        "import subprocess; subprocess.run(['false'], check=True)",
        "class ConnectError(Exception): ...\n    raise ConnectError('refused')",
        "class InactiveRpcError(Exception): ...\n    raise InactiveRpcError",
        "try: open('/nosuch')\n    except OSError as error: raise RuntimeError('x') from error",
        "try: open('/nosuch')\n    except OSError: raise RuntimeError('x')",
    ],
)
def test_what_was_not_there_may_come(tmp_path, body):
    assert load(tmp_path, RAISES.format(body=f"    {body}")).may_pass


@pytest.mark.parametrize(
    "text",
    [
        "def predict(",
        "import nosuchlibrary",
        "x = 1",
        "raise ValueError('wrong')",
        "raise RuntimeError('wrong')",
        "raise SystemExit(3)",
        "try: open('/nosuch')\nexcept OSError: import nosuchlibrary",
        "try: open('/nosuch')\nexcept OSError: raise ValueError from None",
        "class E(Exception): ...\na, b = E(), E()\na.__cause__, b.__cause__ = b, a\nraise a",
    ],
)
def test_what_is_wrong_stays_wrong(tmp_path, text):
    assert not load(tmp_path, text).may_pass


def test_a_missing_file_waits_for_the_file(tmp_path):
    with pytest.raises(ModelNotLoaded) as caught:
        open_model(str(tmp_path), "m", path="nosuch.py")
    assert not caught.value.may_pass
