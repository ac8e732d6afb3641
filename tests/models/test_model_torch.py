"""Check what is reported for PyTorch files; tests/peers loads real ones, where torch is."""

from __future__ import annotations

import struct
import sys

import pytest

from rdv.models import ModelNotLoaded, open_model

EMPTY = struct.pack("<Q", 2) + b"{}"


@pytest.mark.parametrize("name", ["m.pt2", "m.safetensors"])
def test_the_extra_is_named_where_torch_is_missing(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / name).write_bytes(b"PK\x03\x04" if name == "m.pt2" else EMPTY)
    with pytest.raises(ModelNotLoaded, match=r"pip install 'rdv\[torch\]'"):
        open_model(str(tmp_path), "m", path=name)


@pytest.mark.parametrize(("name", "content"), [("m.pt2", b"weights"), ("m.safetensors", b"{}")])
def test_other_files_are_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelNotLoaded, match="is not a model of torch"):
        open_model(str(tmp_path), "m", path=name)
