"""Reading on, whatever happens to the log: a component must not stop for one bad record."""

from __future__ import annotations

import logging

from rdv.stream import Consumer, Record
from rdv.stream.errors import RecordsDamaged, RecordsLost

log = logging.getLogger("rdv.reading")


def poll_on(consumer: Consumer, max_records: int, timeout_s: float = 0.0) -> list[Record]:
    """Poll; what retention took, or what is damaged, is logged by name and passed over."""
    try:
        return consumer.poll(max_records, timeout_s)
    except RecordsLost as error:
        log.warning("%s", error.text())
    except RecordsDamaged as error:
        log.error("%s; reading goes on behind it", error.text())
        consumer.seek(error.topic, error.partition, error.last_offset + 1)
    return []
