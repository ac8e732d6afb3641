"""What is sent to a server for a batch of rows, and how its answer is read. Pure.

json        POST URL            {"rows": [...]} → {"predictions": [...]} or a list
oip         POST …/v2/models/NAME/infer, the Open Inference Protocol V2
mlflow      POST …/invocations, as `mlflow models serve` takes it
tfserving   POST …/v1/models/NAME:predict, as TensorFlow Serving takes it
"""

from __future__ import annotations

from collections.abc import Callable

from rdv.models.remote.protocols.base import Answers, BadAnswer, BadRows, Codec, error_text
from rdv.models.remote.protocols.lists import JsonCodec, MlflowCodec, TfServingCodec
from rdv.models.remote.protocols.oip import OipCodec
from rdv.models.remote.settings import ProtocolName, Settings

__all__ = ["Answers", "BadAnswer", "BadRows", "Codec", "error_text", "make_codec"]

_CODECS: dict[ProtocolName, Callable[[str, Settings, int], Codec]] = {
    "json": JsonCodec,
    "oip": OipCodec,
    "mlflow": MlflowCodec,
    "tfserving": TfServingCodec,
}


def make_codec(name: str, settings: Settings, result_bytes_max: int) -> Codec:
    """Return the codec of the protocol; `name` is the model's, unless the settings have another."""
    return _CODECS[settings.protocol](settings.model or name, settings, result_bytes_max)
