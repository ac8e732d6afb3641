"""The module defines the JSON that rdv accepts, by one rule for all input. Pure, thread-safe.

The rule holds for `data`, keys and schedules in requests, outcomes, models' and enrichers' results,
the defaults of schedules, and everything that a command reads from a file or its command line:

- RFC 8259 in UTF-8: no byte-order mark, no lone surrogates, no NaN, no Infinity, no comments.
- A whole number lies between INTEGER_MIN and INTEGER_MAX. A number with a fraction or an exponent
  is a double, and finite as one (1e999 is refused, 1e-999 is 0.0).
- Lists and objects nest at most DEPTH_MAX deep.
- Keys keep their order, may be empty, and may occur twice: readers take the last one.

Accepted text is passed on as it was received: 1e2 stays 1e2 and -0.0 stays -0.0. Only line breaks
between its tokens become spaces. Every reader of rdv, and every common library, reads the same
value from it. Sizes are limited where it is received (`http.body_bytes_max`, `result_bytes_max`).
"""

from __future__ import annotations

import re
from typing import Any, Final, Literal

import msgspec
import orjson

from rdv.errors import InputFault
from rdv.native import NATIVE

INTEGER_MIN: Final = -(2**63)
INTEGER_MAX: Final = 2**64 - 1
DEPTH_MAX: Final = 100
"""The maximum nesting, below the limits of the readers and writers: orjson writes 254 deep,
Python's json and msgspec read less than 1,000, serde_json 127; the line of a message adds one."""

PLAIN, LARGE_FLOAT, WIDE_INTEGER, TOO_DEEP = 0, 1, 2, 3
"""The results of a check of a text; the latter two are in the two lowest bits of a position."""

UnusableKind = Literal["malformed_json", "number_out_of_range", "nested_too_deeply"]
"""Also the code of the error, at the HTTP server and on the command line."""


_TRUNCATED = "Input data was truncated"

_MARKS = (
    (b"\xef\xbb\xbf", "UTF-8"),
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)

_DIGITS_AND_DEPTH = bytes(
    ord("0") if chr(n).isdigit() else ord("[") if chr(n) in "[{" else n | 32 for n in range(128)
) + bytes(range(128, 256))

_STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*"'

_NUMBER = rb"(-?)([0-9]+)(\.[0-9]+)?([eE][-+0-9]*)?"

_WORD = re.compile(
    _STRING + rb"|(?<![\w.])([-+]?(?:NaN|nan|NAN|Infinity|infinity|Inf|inf|INF))(?![\w.])",
    re.DOTALL,
)

_TOKEN = re.compile(_STRING + rb"|" + _NUMBER + rb"|[\[{]|[\]}]", re.DOTALL)

_FINITE_DIGITS = 300

_SUSPICIOUS_DIGITS = b"0" * 19


class UnusableJson(InputFault):
    """A text is not JSON, or is JSON that rdv does not accept."""

    kind: UnusableKind
    reason: str

    def code(self) -> str:
        return self.kind

    def text(self) -> str:
        return self.said_of("this")

    def said_of(self, what: str) -> str:
        """Return the sentence, about `what`."""
        return f"{what} {self.verdict()}"

    def verdict(self) -> str:
        """Return the sentence without its subject."""
        if self.kind == "malformed_json":
            return f"is not JSON: {self.reason}"
        return f"is not JSON that rdv takes: {self.reason}"

    def hint(self) -> str:
        return "" if self.kind == "malformed_json" else "Send what does not fit as a string."


def read_json(text: bytes | str) -> Any:
    """Return the value of a text. Raises UnusableJson."""
    if isinstance(text, str):
        try:
            text = text.encode()
        except UnicodeEncodeError:
            raise UnusableJson("malformed_json", "it is not UTF-8") from None
    check_numbers_and_depth(text)
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise unreadable(text, error) from None


def check_json(text: bytes) -> bytes:
    """Return the text without the space around it, after checking it.

    Raises UnusableJson.
    """
    read_json(text)
    return text.strip(b" \t\r\n")


def canonical(value: Any) -> bytes:
    """Return JSON with sorted keys, equal for equal values: for comparing, counting, hashing.

    Raises UnusableJson for a value that no JSON library could write; no accepted value is one.
    """
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except (TypeError, RecursionError) as error:
        raise UnusableJson("malformed_json", f"it cannot be written: {error}") from None


def text_of(value: Any) -> bytes:
    """Return JSON of any value that msgspec has read, keys in order; accepts all of 0.1.0's."""
    try:
        return orjson.dumps(value)
    except (TypeError, RecursionError):
        return msgspec.json.encode(value)


def sorted_json(value: Any) -> bytes:
    """Return `canonical` JSON of any value that msgspec has read, such as schedules of 0.1.0."""
    try:
        return canonical(value)
    except UnusableJson:
        return msgspec.json.encode(value, order="sorted")


def read_recorded(text: bytes) -> Any:
    """Return a value from the log, where 0.1.0 may have written more than today's rule allows.

    Whole numbers out of range become doubles. Raises UnusableJson for a text that cannot be read,
    or whose value could not be written again.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise unreadable(text, error) from None
    if look(text, DEPTH_MAX) > LARGE_FLOAT:
        canonical(value)
    return value


def is_readable(text: bytes) -> bool:
    """Return whether `read_recorded` accepts a text that is known to be JSON."""
    if look(text, DEPTH_MAX) == PLAIN:
        return True
    try:
        read_recorded(text)
    except UnusableJson:
        return False
    return True


def check_numbers_and_depth(text: bytes, depth_max: int = DEPTH_MAX) -> None:
    """Check the parts on which JSON libraries differ, in a text whose syntax is checked elsewhere.

    About 0.4 µs for 300 bytes. Raises UnusableJson.
    """
    found = look(text, depth_max)
    if found == PLAIN:
        return
    if found == LARGE_FLOAT:
        try:
            orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise unreadable(text, error) from None
        return
    place, kind = found >> 2, found & 3
    if kind == TOO_DEEP:
        reason = f"it is nested more than {depth_max} deep, from byte {place} on"
        raise UnusableJson("nested_too_deeply", reason)
    reason = f"the whole number at byte {place} is not within -2^63 to 2^64-1"
    raise UnusableJson("number_out_of_range", reason)


def unreadable(text: bytes, error: Exception) -> UnusableJson:
    """Translate a JSON library's error about a text into UnusableJson."""
    reason = str(error)
    if reason.startswith("number is infinity"):
        place = reason.partition(": ")[2]
        return UnusableJson("number_out_of_range", f"a number is too large for a double: {place}")
    if isinstance(error, RecursionError) or reason.startswith("depth limit"):
        return UnusableJson("nested_too_deeply", f"it is nested more than {DEPTH_MAX} deep")
    if reason == _TRUNCATED:  # msgspec reports a broken escape sequence so, too
        try:
            orjson.loads(text)
        except orjson.JSONDecodeError as other:
            reason = str(other)
    if fault := text_fault(text) or _not_a_number(text):
        reason = fault
    elif isinstance(error, UnicodeDecodeError):
        reason = f"it is not UTF-8 from byte {error.start} on"
    return UnusableJson("malformed_json", reason)


def text_fault(body: bytes) -> str:
    """Return why an unreadable body is no UTF-8 text, in a few words; empty when it may be one."""
    for mark, name in _MARKS:
        if body.startswith(mark):
            return f"it begins with the byte-order mark of {name}: send UTF-8 without one"
    if b"\0" in body[:4]:
        return "it has NUL bytes, as UTF-16 and UTF-32 have: send UTF-8"
    return ""


def _not_a_number(text: bytes) -> str:
    """Return the place of the first NaN or Infinity, if the text is JSON up to it; else nothing."""
    found = [match for match in _WORD.finditer(text) if match[1]]
    if not found:
        return ""
    rest = bytearray(text)
    for match in found:
        rest[match.start() : match.end()] = b"0".ljust(len(match[0]))
    try:
        orjson.loads(rest)
    except orjson.JSONDecodeError as error:
        if error.pos < found[0].start():
            return ""
    word = found[0][1].decode()
    return f"{word} is not JSON; send null (byte {found[0].start()})"


def look_in_python(text: bytes, depth_max: int) -> int:
    """Do the same as `Native.json_look`. Tokens are checked only where a finding is possible."""
    same = text.translate(_DIGITS_AND_DEPTH)
    if not (b"0e" in same or _SUSPICIOUS_DIGITS in same or same.count(b"[") > depth_max):
        return PLAIN
    found, depth = PLAIN, 0
    for token in _TOKEN.finditer(text):
        first = text[token.start()]
        if first == ord('"'):
            continue
        if first in b"[{":
            depth += 1
            if depth > depth_max:
                return token.start() << 2 | TOO_DEEP
        elif first in b"]}":
            depth -= 1
        else:
            minus, digits, fraction, exponent = token.groups()
            if exponent or (fraction and len(digits) >= _FINITE_DIGITS):
                found = LARGE_FLOAT
            elif not fraction and _is_wide(minus + digits):
                return token.start() << 2 | WIDE_INTEGER
    return found


def _is_wide(digits: bytes) -> bool:
    longest = len(str(INTEGER_MAX))
    return len(digits) > longest or not INTEGER_MIN <= int(digits) <= INTEGER_MAX


look = look_in_python if NATIVE is None else NATIVE.json_look
