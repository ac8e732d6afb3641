"""The section [gate] of an `rdv.toml` sets the conditions for the promotion of a model."""

from __future__ import annotations

from typing import Annotated

import msgspec

from rdv.config.fields import COUNT_MAX, setting


def _share(comment: str) -> msgspec.Meta:
    return setting(comment, 0, 1, effect="command")


class Gate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits `rdv promote`; its library has the same names and defaults (`promote.gate`)."""

    requests_min: Annotated[
        int,
        setting(
            "both models have scored so many requests at least", 1, COUNT_MAX, effect="command"
        ),
    ] = 1000
    judged_min: Annotated[
        int,
        setting(
            "so many known outcomes count for more than agreement", 1, COUNT_MAX, effect="command"
        ),
    ] = 100
    loss_max: Annotated[
        float, _share("right answers may be fewer than the champion's by this share")
    ] = 0.005
    agreement_min: Annotated[
        float, _share("without outcomes: agreement with the champion (of scores: of their ranks)")
    ] = 0.9
    kappa_min: Annotated[
        float, _share("and, of answers, their agreement beyond chance (Cohen's kappa)")
    ] = 0.6
    late_max: Annotated[
        float, _share("answers that are not there within the champion's window, or as its own")
    ] = 0.01
    errors_max: Annotated[float, _share("errors, of the requests that it was to score")] = 0.001
    refusals_max: Annotated[float, _share("refusals, of the same")] = 0.01
    defaults_max: Annotated[
        float, _share("--watch: defaults among the answers, beyond what there were before")
    ] = 0.02
    marginal_factor: Annotated[
        float,
        setting(
            "what breaks a limit, but not so many times over, is marginal",
            ge=1,
            le=1000,
            effect="command",
        ),
    ] = 5.0
