"""Declare [enrich_redis] and [enrich_http]: where features are looked up before the models."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from rdv.decision.sections import COUNT_MAX, MS, live

Values = Literal["json", "text"]


class _Features(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Configures what all lookups of features have in common."""

    by: Annotated[
        str, live('Field of data that is looked up, as "user.id"; empty: the key of the request')
    ] = ""
    fields: Annotated[list[str], live("Only these features; empty: all")] = []
    into: Annotated[str, live("Field of data that gets the features, beside INTO_stale")] = (
        "features"
    )
    timeout_ms: Annotated[
        int, live("Time limit of a lookup; beyond: the last known features, or null", *MS)
    ] = 5
    cache_ms: Annotated[
        int, live("Time for which known features are used without a lookup; 0: never", 0, MS[1])
    ] = 1_000
    stale_ms: Annotated[
        int,
        live("Largest age of features that replace a failed lookup; marked as stale", 0, 10**10),
    ] = 3_600_000
    cache_max: Annotated[
        int, live("Maximum number of keys that are remembered per proxy", 1, COUNT_MAX)
    ] = 10_000


class RedisFeatures(_Features, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Configures features from hashes of a Redis server; without a url there are none."""

    url: Annotated[
        str, live('Address of the server: "redis://10.0.0.7:6379/0", "unix:///run/redis.sock"')
    ] = ""
    url_from: Annotated[
        str, live("Or the environment variable that has it, with its password; see env")
    ] = ""
    prefix: Annotated[str, live('Beginning of the keys of the hashes: "user:"')] = ""
    values: Annotated[
        Values, live('"json": numbers, true, false and null are those; "text": all are strings')
    ] = "json"

    @property
    def is_declared(self) -> bool:
        """Return whether there is a server."""
        return bool(self.url or self.url_from)


class HttpFeatures(_Features, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Configures features from an HTTP server; without a url there are none."""

    url: Annotated[
        str, live('Address of the JSON object of a key: "http://10.0.0.8/users/{key}"')
    ] = ""
    authorization_from: Annotated[
        str, live("Environment variable that has the header Authorization; see env")
    ] = ""

    @property
    def is_declared(self) -> bool:
        """Return whether there is a server."""
        return bool(self.url)
