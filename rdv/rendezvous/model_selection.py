"""Decides which models are asked about a request: selective speculation. Pure.

The proxy decides it once and records the models that are *not* asked (`Request.not_asked`). So
every worker, the server and a replay agree without knowing the settings of that day.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from rdv.http import Failure
from rdv.rendezvous.schedule import assign_cohort

_ASKED = "asked"


@dataclass(frozen=True)
class ModelSelection:
    """Holds the settings in rdv.toml about which models are asked.

    `models`: those that may be left out (no decoy, no canary: they see everything). `samples`:
    shares of the requests, for models that score only some. `cohorts`: the only models that are
    asked about requests of a cohort.
    """

    models: Sequence[str] = ()
    samples: Mapping[str, float] = field(default_factory=dict)
    cohorts: Mapping[str, Collection[str]] = field(default_factory=dict)

    def not_asked(self, id_: str, cohort: str | None, wanted: Collection[str] | None) -> list[str]:
        """Return the models that must not score request `id_`.

        `wanted` is the client's own list, which overrides the settings. A sample is a stable hash
        of model and request id: the samples of two models are independent.
        """
        if wanted is None and cohort is not None:
            wanted = self.cohorts.get(cohort)
        if wanted is not None:
            wanted = frozenset(wanted)
            return [name for name in self.models if name not in wanted]
        return [name for name, share in self.samples.items() if not _is_in(name, id_, share)]

    @property
    def asks_all(self) -> bool:
        """Return whether all models are asked unless a client says otherwise."""
        return not self.samples and not self.cohorts

    def check(self, wanted: Collection[str]) -> Failure | None:
        """Return what is wrong with a client's list of models."""
        unknown = sorted(set(wanted) - set(self.models))
        if not wanted or unknown:
            names = ", ".join(self.models)
            what = f"no model {unknown[0][:100]!r}" if unknown else "no model named in `models`"
            message = f"there is {what}; there are {names}"
            return Failure(422, "unknown_model", message, {"models": [n[:100] for n in unknown]})
        return None


def _is_in(model: str, id_: str, share: float) -> bool:
    return assign_cohort(id_, model, {_ASKED: share}) == _ASKED
