"""Check that no id can be derived from another, within a process or after a fork."""

from __future__ import annotations

import os

from running import Client, write_decision
from serving import serving

from rdv.rendezvous.messages import RequestIds


def test_the_ids_of_one_proxy_have_nothing_in_common(tmp_path):
    port = write_decision(tmp_path / "fraud")
    with serving(tmp_path / "fraud", port), Client(port) as client:
        ids = [client.post({"data": {}, "deadline_ms": 1})[1]["id"] for _ in range(50)]
    assert len(set(ids)) == 50
    for digit in range(32):  # no digit is the same in all ids
        assert len({id_[digit] for id_ in ids}) > 1
    assert ids != sorted(ids)


def test_a_forked_child_does_not_repeat_its_parents_ids():
    ids = RequestIds(os.urandom)
    os.register_at_fork(after_in_child=ids.forget)
    next(ids)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, "".join(next(ids) for _ in range(20)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    told = os.read(reader, 4_096).decode()
    os.close(reader)
    theirs = {told[at : at + 32] for at in range(0, len(told), 32)}
    assert len(theirs) == 20
    assert theirs.isdisjoint(next(ids) for _ in range(600))
