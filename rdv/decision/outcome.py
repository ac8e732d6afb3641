"""Declare the [outcome] section of an rdv.toml: what is true, and by what answers are judged."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from rdv.decision.sections import on_command

OutcomeType = Literal["auto", "class", "probability", "number", "ranking"]
AGE_MAX_MS = 10 * 365 * 86_400_000


class Outcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Declares what the outcomes say, and which part of an answer is judged by them.

    Values are compared by what they mean: 1, 1.0, "1", true and "True" are the same one.
    """

    type: Annotated[
        OutcomeType,
        on_command(
            'Judged: "class", "probability" of positive, "number", "ranking"; "auto": inferred'
        ),
    ] = "auto"
    answer: Annotated[
        str,
        on_command("Field of the answers that is judged; empty: inferred"),
    ] = ""
    field: Annotated[
        str,
        on_command(
            "Field of the outcomes that has the truth; empty: the outcome, or its one field"
        ),
    ] = ""
    positive: Annotated[
        str,
        on_command('The outcome that a probability is of: "1", "fraud"; empty: 1'),
    ] = ""
    threshold: Annotated[
        float,
        on_command("Probability from which on an answer says positive", 0, 1),
    ] = 0.5
    means: Annotated[
        dict[str, str],
        on_command(
            'The outcome for which each action is right: { block = "fraud", allow = "honest" }'
        ),
    ] = {}
    metric: Annotated[
        str,
        on_command(
            'Metric of every command without --metric: "roc-auc", "value" ...; empty: by the type'
        ),
    ] = ""
    caused_by_answer: Annotated[
        bool,
        on_command(
            "Whether the answer causes the outcome, as for clicks: it judges no other answer then"
        ),
    ] = False
    mature_after_ms: Annotated[
        int,
        on_command(
            "Age from which on a request without an outcome counts as mature_as; 0: never",
            0,
            AGE_MAX_MS,
        ),
    ] = 0
    mature_as: Annotated[
        str,
        on_command('The outcome of such a request: "0", "honest"'),
    ] = ""

    def of_given_answers(self) -> Outcome:
        """Return the section for a study of the answers given only, of which outcomes do tell."""
        return msgspec.structs.replace(self, caused_by_answer=False)


INFERRED = Outcome()
"""Without [outcome], everything is inferred from what is recorded."""
