"""Hourly digests of the input and of the scores, which outlive the log's retention.

hour    one hour as a value and as bytes
write   derive the hours that have no digest yet from the log, and delete old ones
past    read the hours before some time, as columns that drift is compared with

The supervisor starts a process for `write` once an hour; nothing is done per request. A digest has
values of at most `KEYS_MAX` keys, drawn at random in each hour, one request of each: the unit of
drift is the key. The values of each column are sorted on their own, and ids and keys are not kept,
so that no request can be put together again.
"""

from __future__ import annotations

from rdv.analysis.digests.past import NO_PAST, Past, read_past
from rdv.analysis.digests.write import write_digests

__all__ = ["NO_PAST", "Past", "read_past", "write_digests"]
