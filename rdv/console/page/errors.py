"""The errors of the page."""

from __future__ import annotations

from rdv.errors import InputFault, SystemFault


class Busy(SystemFault):
    """Too many views are being computed, or too many people look."""

    _text = "too many people are using this page right now"
    _hint = "Try again in a few seconds."


class WritingOff(InputFault):
    """The page was asked to write, and may not."""

    what: str

    _text = "{what} is off: the page may not write"
    _hint = "Set allow_writes = true under [console] in rdv.toml, or use the command."


class ForeignForm(InputFault):
    """A form of another site was sent here."""

    origin: str

    _text = "the form was sent by {origin!r}, which is not this page"


class FormTooLarge(InputFault):
    """A form has more bytes than any that this page has."""

    bytes_max: int

    _text = "the form has more than {bytes_max} bytes"


class FormIncomplete(InputFault):
    """A form did not arrive as a whole in time."""

    timeout_s: float

    _text = "the form did not arrive within {timeout_s:g} s"
    _hint = "Send it again."


class StreamUnknown(InputFault):
    """A decision has no stream of this name."""

    name: str
    known: str

    _text = "there is no stream {name!r}"
    _hint = "There are {known}."


class OutcomeUnusable(InputFault):
    """An outcome is not JSON."""

    given: str

    _text = "the outcome {given!r} is not JSON"
    _hint = 'For example true, 12.5 or "fraud" (with the quotes).'
