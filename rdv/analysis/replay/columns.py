"""Define the columns of a replay's results (`-o`). Columns are only added. Pure."""

from __future__ import annotations

from rdv.analysis.export.columns import Column

COLUMNS = (
    Column("id", "string", "of the request"),
    Column("time", "time", "when it arrived, by the proxy's clock"),
    Column("version", "string", "of the model"),
    Column("result", "string", "JSON"),
    Column("label", "string", "of the result: its action, label, bin or class"),
    Column("score", "float", "of the result: its score or probability"),
    Column("evaluation_ms", "float", "of the whole batch"),
    Column("batch_size", "int", "requests evaluated together"),
    Column("error", "string", "what went wrong"),
    Column("refusal", "string", "with --speed: behind or expired"),
    Column("waited_ms", "float", "with --speed: from the start of the request to its score"),
)
