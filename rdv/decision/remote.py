"""Declare the table [models.NAME.remote] of an rdv.toml: how a server is asked over HTTP."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from rdv.decision.sections import MS, on_replace

ProtocolName = Literal["json", "oip", "mlflow", "tfserving"]
Dataframe = Literal["records", "split"]


class Remote(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Describes how the servers of `http` are asked."""

    model: Annotated[
        str, on_replace("Name of the model at the server (oip, tfserving); empty: that of rdv")
    ] = ""
    columns: Annotated[
        list[str],
        on_replace("Order of the columns in one tensor (oip), or in a data frame (mlflow)"),
    ] = []
    rows_key: Annotated[
        str, on_replace('protocol = "json": key of the rows in the body that is sent')
    ] = "rows"
    predictions_key: Annotated[
        str, on_replace("Key of the predictions in the answer, where it is not a list itself")
    ] = "predictions"
    result_key: Annotated[
        str,
        on_replace('Make a prediction that is no object one: "score" makes 0.7 {"score": 0.7}'),
    ] = ""
    dataframe: Annotated[
        Dataframe, on_replace('protocol = "mlflow": send dataframe_"records" or dataframe_"split"')
    ] = "records"
    token_env: Annotated[
        str,
        on_replace("Variable of the environment with the token for the header Authorization"),
    ] = ""
    headers_env: Annotated[
        dict[str, str],
        on_replace('More headers, with the variables of their values: { "X-Api-Key" = "API_KEY" }'),
    ] = {}
    ca_file: Annotated[
        str, on_replace("File with the certificates to trust, in place of the system's own")
    ] = ""
    hedge: Annotated[
        bool,
        on_replace(
            "May a server be asked twice for a request: another replica when one is slow or fails, "
            "or in smaller batches after an error"
        ),
    ] = True
    hedge_share: Annotated[
        float, on_replace("Maximum share of second calls because of a slow replica", 0, 0.5)
    ] = 0.05
    in_flight_max: Annotated[
        int, on_replace("Maximum number of batches that are asked for at the same time", 1, 256)
    ] = 16
    version_every_ms: Annotated[
        int, on_replace("How often the server is asked for the version of the model", *MS)
    ] = 10_000
    answer_bytes_max: Annotated[
        int, on_replace("Maximum size of an answer for a batch", 1024, 256 * 1024 * 1024)
    ] = 16_777_216

    @property
    def variables(self) -> list[str]:
        """Return the names of the variables of the environment that it reads."""
        return [*filter(None, [self.token_env]), *self.headers_env.values()]


def servers(http: str | list[str]) -> list[str]:
    """Return the addresses of `http`: one, or those of replicas."""
    return [http] if isinstance(http, str) and http else list(http)
