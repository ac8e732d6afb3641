"""Check a failed fsync: reported once, segment sealed and never synced again, writing goes on."""

from __future__ import annotations

import errno

import pytest
from survival_disks import FaultyDisk
from survival_logs import NEVER_MS, TOPIC, assert_sound, open_log, read_all, writer_of

from rdv.stream.errors import DiskFault, DiskFull, SyncFailed


def segment_of(name):
    return name.split(".")[0]


class SyncDisk(FaultyDisk):
    """Fail fdatasyncs as planned, and record which files have been synced."""

    def __init__(self):
        super().__init__(errno.EIO, kinds=("fdatasync",))

    def synced(self):
        """Return the names of the files synced so far, in order."""
        return [name for call, name in self.log if call == "fdatasync"]

    def synced_after_failure(self):
        """Return the files of the failed segment that were synced again after the failure."""
        bad = self.failed[0]
        names = self.synced()
        place = names.index(bad[1], 0) if names.count(bad[1]) == 1 else self._place_of_failure()
        return [n for n in names[place + 1 :] if segment_of(n) == segment_of(bad[1])]

    def _place_of_failure(self):
        return self.failed_at

    def _fail(self, name, what):
        self.failed_at = len(self.synced()) - 1
        super()._fail(name, what)


def is_sealed(stream, base):
    """Return whether the segment is closed: the next one exists, or the seal for it."""
    from rdv.stream.file.segment import Segment

    directory = stream._files.directory(stream._place(TOPIC, 0))
    with Segment(stream._files.disk, directory, base) as segment:
        return segment.is_sealed()


@pytest.mark.parametrize("at", [1, 2])
def test_with_fsync_always_a_failed_sync_seals_the_segment(tmp_path, at):
    disk = SyncDisk()
    path = tmp_path / "log"
    with open_log(path, disk, fsync="always") as stream, stream.producer() as producer:
        producer.send(TOPIC, b"durable")
        disk.plan(at)
        with pytest.raises(SyncFailed) as caught:
            producer.send(TOPIC, b"not acknowledged")
        assert "fsync" in caught.value.text()
        assert [name for name, _ in disk.failed] == ["fdatasync"]
        _, first = producer.send(TOPIC, b"goes on")
        _, second = producer.send(TOPIC, b"and on")
        assert stream.segments(TOPIC, 0)[-1] == first
        assert second == first + 1
        assert disk.synced_after_failure() == []
        records = read_all(stream).records
        assert records[0] == b"durable"
        assert records[first] == b"goes on"
        assert records[second] == b"and on"
        assert set(records.values()) <= {b"durable", b"not acknowledged", b"goes on", b"and on"}


@pytest.mark.parametrize("at", [1, 2])
def test_with_fsync_always_no_writer_uses_a_segment_whose_sync_failed(tmp_path, at):
    """The kernel reports the failure only once, so it would not report it to another process."""
    disk, other_disk = SyncDisk(), SyncDisk()
    path = tmp_path / "log"
    with open_log(path, disk, fsync="always") as stream, stream.producer() as producer:
        producer.send(TOPIC, b"durable")
        disk.plan(at)
        with pytest.raises(SyncFailed):
            producer.send(TOPIC, b"not acknowledged")
        with open_log(path, other_disk) as other, other.producer() as another:
            _, offset = another.send(TOPIC, b"by another process")
            assert other.segments(TOPIC, 0)[-1] == offset, "written behind the failed sync"
            assert is_sealed(other, 0)
        bad = segment_of(disk.failed[0][1])
        assert bad not in map(segment_of, other_disk.synced())


def test_with_fsync_always_a_failed_sync_while_rolling_loses_nothing(tmp_path):
    disk = SyncDisk()
    path = tmp_path / "log"
    settings = {"fsync": "always", "segment_bytes": 20}
    with open_log(path, disk, **settings) as stream, stream.producer() as producer:
        producer.send(TOPIC, b"as long as a segment has room")
        disk.plan(1)
        with pytest.raises(SyncFailed):
            producer.send(TOPIC, b"needs the next segment")
        assert producer.send(TOPIC, b"goes on") == (0, 1)
        assert disk.synced_after_failure() == []
        assert_sound(stream, {0: b"as long as a segment has room", 1: b"goes on"})


@pytest.mark.parametrize("at", [1, 2])
def test_with_fsync_interval_the_next_send_raises_a_failed_sync_once(tmp_path, at):
    disk = SyncDisk()
    path = tmp_path / "log"
    settings = {"fsync": "interval", "fsync_interval_ms": NEVER_MS}
    with open_log(path, disk, **settings) as stream, stream.producer() as producer:
        producer.send(TOPIC, b"written")
        disk.plan(at)
        writer_of(producer).sync()
        with pytest.raises(SyncFailed):
            producer.send(TOPIC, b"told")
        _, offset = producer.send(TOPIC, b"goes on")
        assert stream.segments(TOPIC, 0) == [0, offset]
        writer_of(producer).sync()
        assert disk.synced_after_failure() == []
        assert read_all(stream).records == {0: b"written", offset: b"goes on"}


def test_with_fsync_interval_a_failed_sync_is_remembered_after_files_are_released(tmp_path):
    """`open_partitions_max` may close the files between the failed sync and the next send."""
    disk = SyncDisk()
    path = tmp_path / "log"
    settings = {"fsync": "interval", "fsync_interval_ms": NEVER_MS}
    with open_log(path, disk, **settings) as stream, stream.producer() as producer:
        producer.send(TOPIC, b"written")
        disk.plan(1)
        writer_of(producer).release()
        with pytest.raises(SyncFailed):
            producer.send(TOPIC, b"told")
        _, offset = producer.send(TOPIC, b"goes on")
        writer_of(producer).sync()
        assert stream.segments(TOPIC, 0) == [0, offset], "the segment goes on to be written"
        assert disk.synced_after_failure() == []


def test_with_fsync_interval_close_raises_a_failed_sync(tmp_path):
    disk = SyncDisk()
    settings = {"fsync": "interval", "fsync_interval_ms": NEVER_MS}
    with open_log(tmp_path / "log", disk, **settings) as stream:
        producer = stream.producer()
        producer.send(TOPIC, b"written")
        disk.plan(1)
        with pytest.raises(SyncFailed):
            producer.close()


def test_with_fsync_interval_a_sync_without_descriptors_is_repeated(tmp_path):
    """The next sync makes up for it, or the next send raises."""
    disk = SyncDisk()
    settings = {"fsync": "interval", "fsync_interval_ms": NEVER_MS}
    with open_log(tmp_path / "log", disk, **settings) as stream, stream.producer() as producer:
        producer.send(TOPIC, b"written")
        before, really = len(disk.synced()), disk.dup

        def no_dup(fd):
            raise OSError(errno.EMFILE, "too many open files")

        disk.dup = no_dup
        writer_of(producer).sync()
        disk.dup = really
        writer_of(producer).sync()
        is_told = False
        try:
            producer.send(TOPIC, b"perhaps")
        except SyncFailed:
            is_told = True
        assert is_told or len(disk.synced()) >= before + 2
        producer.send(TOPIC, b"goes on")


@pytest.mark.parametrize("fsync", ["interval", "always"])
def test_a_failed_sync_of_the_directory_is_not_forgotten(tmp_path, fsync):
    """Until a segment's names are durable, nothing in it may be acknowledged as durable."""
    disk = FaultyDisk(errno.EIO, kinds=("sync_directory",))
    settings = {"fsync": fsync, "fsync_interval_ms": NEVER_MS, "segment_bytes": 10}
    with open_log(tmp_path / "log", disk, **settings) as stream, stream.producer() as producer:
        producer.send(TOPIC, b"fills the first segment")
        disk.plan(1)
        with pytest.raises((SyncFailed, DiskFault, DiskFull)):
            producer.send(TOPIC, b"needs the second")
        assert disk.failed == [("sync_directory", "0")]
        before = disk.seen
        producer.send(TOPIC, b"goes on")
        assert disk.seen > before, "acknowledged though the new names were never made durable"
