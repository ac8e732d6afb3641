"""Check the look-up of an offset by time while others write."""

from __future__ import annotations

import time

import pytest

from rdv.stream import open_stream
from rdv.stream.file import lookup


@pytest.mark.parametrize("before", [0, 1])
def test_what_is_appended_while_it_looks_is_not_passed_over(tmp_path, monkeypatch, before):
    """A reader that starts at the offset found would lose it."""
    with open_stream(str(tmp_path / "s")) as stream, stream.producer() as producer:
        stream.make_topic("t", 1)
        for _ in range(before):
            producer.send("t", b"old\n")
        since_ns = time.time_ns()
        real, real_segment, has_sent = lookup.open_segments, lookup.Segment, []

        def send_once():
            if not has_sent:
                has_sent.append(True)
                producer.send("t", b"new\n")

        def open_segments(disk, directory):
            bases = real(disk, directory)
            if not before:
                send_once()
            return bases

        class Segment(real_segment):
            def first_at(self, time_ns):
                number = super().first_at(time_ns)
                self._count = self.record_count()
                send_once()
                return number

            def record_count(self):
                return getattr(self, "_count", None) or super().record_count()

        monkeypatch.setattr(lookup, "open_segments", open_segments)
        monkeypatch.setattr(lookup, "Segment", Segment)
        found = stream.offset_at("t", 0, since_ns)
        assert has_sent
        assert stream.end("t", 0) == before + 1
        assert found == before
