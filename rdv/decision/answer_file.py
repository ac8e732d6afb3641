"""Write the answers to a file of rows: as they come beside the file, and at the end into place.

`OUT.partial` has a line for each answer. If scoring was interrupted, the next run of the same input
goes on behind its last complete line; what has answers to another input is never overwritten. The
file itself appears at once, when it is complete.
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
import gzip
import io
import os
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any

import orjson

from rdv.decision.row_file import LINES, PARQUET, ending_of
from rdv.errors import NotUsable
from rdv.system.faults import faults

FIXED = ("row", "id", "key", "kind", "code", "reason", "model", "version", "waited_ms")
_ROWS = 5_000


class AnswerFile:
    """Collects the answers to the rows of `source`. For one thread."""

    def __init__(self, path: str, source: str, options: dict[str, Any]) -> None:
        """Go on with what is there of the same input and options.

        Raises NotUsable while another process writes it, where the answers are of another input,
        and for an output that is the input; SystemFaults.
        """
        self.path = path
        self.partial = f"{path}.partial"
        self._ending = ending_of(path)
        with faults(source, "read"):
            found = os.stat(source)
        place = [os.path.abspath(source), found.st_size, found.st_mtime_ns]
        head = orjson.dumps({"source": place, "options": options}) + b"\n"
        for own in (path, self.partial):
            if os.path.exists(own) and os.path.samefile(own, source):
                advice = "Name another file for the answers."
                raise NotUsable(own, "it has the rows to score", advice)
        with faults(self.partial, "write"):
            self._file = self._opened()
            try:
                self.done = self._begin(head)
                """How many rows have an answer already."""
            except BaseException:
                self._file.close()
                raise

    def _opened(self) -> IO[bytes]:
        """Open and lock the partial file; again if another process has just removed it."""
        while True:
            file = open(self.partial, "ab")  # noqa: SIM115  it stays open
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(file.fileno()), os.stat(self.partial)):
                        return file
            except BlockingIOError:
                file.close()
                advice = "Wait for it, or name another file for the answers."
                raise NotUsable(self.partial, "another rdv score writes it", advice) from None
            except BaseException:
                file.close()
                raise
            file.close()

    def _begin(self, head: bytes) -> int:
        """Return how many rows have an answer already. Raises NotUsable."""
        with open(self.partial, "r+b") as file:
            first = file.readline()
            if first == head:
                count, end = 0, len(head)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    count, end = count + 1, end + len(line)
                file.truncate(end)
                return count
            is_ours = _is_head(first, head)
            count = sum(line.endswith(b"\n") for line in file)
        if first and (not is_ours or count):
            advice = f"Remove {self.partial} to begin anew, or name another file for the answers."
            raise NotUsable(self.partial, _what_it_has(first, head, count), advice)
        self._file.truncate(0)
        self._file.write(head)
        self._file.flush()
        return 0

    def add(self, answers: Iterable[dict[str, Any]]) -> None:
        """Keep the answers to the next rows. Raises SystemFaults."""
        with faults(self.partial, "write"):
            self._file.write(b"".join(orjson.dumps(one) + b"\n" for one in answers))
            self._file.flush()

    def finish(self) -> None:
        """Write the file, and put it into place. Raises SystemFaults."""
        with faults(self.path, "write"):
            self._file.flush()
            columns = _columns(self._answers())
            scratch = f"{self.partial}.{os.getpid()}"
            try:
                if self._ending in PARQUET:
                    _write_parquet(scratch, columns, self._answers)
                else:
                    _write_text(scratch, self.path, self._ending, columns, self._answers())
                os.replace(scratch, self.path)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(scratch)
            os.unlink(self.partial)

    def close(self) -> None:
        self._file.close()

    def _answers(self) -> Iterator[dict[str, Any]]:
        with open(self.partial, "rb") as file:
            next(file)
            for line in file:
                answer = orjson.loads(line)
                result = answer.pop("result", None)
                fields = result if isinstance(result, dict) else {"": result}
                for name, value in fields.items():
                    answer[f"result.{name}" if name else "result"] = value
                yield answer


def _is_head(line: bytes, wanted: bytes) -> bool:
    """Return whether a line is the first one of a partial file, or the beginning of this one."""
    if not line.endswith(b"\n"):
        return wanted.startswith(line)  # it was cut off while it was written
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return isinstance(found, dict) and found.keys() == {"source", "options"}


def _what_it_has(first: bytes, head: bytes, count: int) -> str:
    try:
        found, wanted = orjson.loads(first), orjson.loads(head)
        source = found["source"][0]
        if source != wanted["source"][0]:
            return f"it has {count:,} answers to the rows of {source}"
        if found["source"] != wanted["source"]:
            return f"it has {count:,} answers to {source} as it was before it was changed"
        return f"it has {count:,} answers to {source} with other options"
    except (orjson.JSONDecodeError, LookupError, TypeError):
        return "it is not a file of rdv score"


def _columns(answers: Iterable[dict[str, Any]]) -> dict[str, set[str]]:
    """Return the columns of the answers, each with the types of its values."""
    found: dict[str, set[str]] = {name: set() for name in FIXED}
    for answer in answers:
        for name, value in answer.items():
            if value is not None:
                is_wide = type(value) is int and not -(2**63) <= value < 2**63
                kind = "wide" if is_wide else type(value).__name__
                found.setdefault(name, set()).add(kind)
            else:
                found.setdefault(name, set())
    return found


def _write_text(
    scratch: str,
    path: str,
    ending: str,
    columns: dict[str, set[str]],
    answers: Iterable[dict[str, Any]],
) -> None:
    zipped = path.lower().endswith(".gz")
    with gzip.open(scratch, "wb") if zipped else open(scratch, "wb") as raw:
        if ending in LINES:
            for answer in answers:
                raw.write(orjson.dumps({name: answer.get(name) for name in columns}) + b"\n")
            return
        with io.TextIOWrapper(raw, "utf-8", newline="") as text:
            table = csv.writer(text, delimiter="\t" if ending == ".tsv" else ",")
            table.writerow(columns)
            for answer in answers:
                table.writerow([_text(answer.get(name)) for name in columns])


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _write_parquet(
    scratch: str,
    columns: dict[str, set[str]],
    answers: Callable[[], Iterator[dict[str, Any]]],
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"bool": pa.bool_(), "int": pa.int64(), "float": pa.float64()}
    types = {}
    for name, found in columns.items():
        kind = "float" if found == {"int", "float"} else "".join(found) if len(found) == 1 else ""
        types[name] = kinds.get(kind, pa.string())
    if "row" in types:
        types["row"] = pa.int64()
    schema = pa.schema(list(types.items()))
    with pq.ParquetWriter(scratch, schema) as writer:
        rows: list[dict[str, Any]] = []

        def flush() -> None:
            arrays = [
                pa.array([_cell(row.get(name), is_text=kind == pa.string()) for row in rows], kind)
                for name, kind in types.items()
            ]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
            rows.clear()

        for answer in answers():
            rows.append(answer)
            if len(rows) >= _ROWS:
                flush()
        if rows:
            flush()


def _cell(value: Any, *, is_text: bool) -> Any:
    if not is_text or value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()
