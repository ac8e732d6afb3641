"""Ask a server over HTTP as a model: whatever runs already stands behind a rendezvous.

- `model`: `RemoteModel`, with several requests in flight, for one thread
- `protocols`: what is sent and how answers are read (json, oip, mlflow, tfserving); pure
- `breaker`: when a server that keeps failing is not asked; pure
- `hedging`: when a second replica is asked; pure
- `replica`: one server with its addresses, its connections and its breaker
- `connection`: one HTTP/1.1 connection on a non-blocking socket
"""

from __future__ import annotations

from rdv.models.remote.check import check_server
from rdv.models.remote.model import RemoteModel
from rdv.models.remote.settings import InvalidRemote, Settings

__all__ = ["InvalidRemote", "RemoteModel", "Settings", "check_server"]
