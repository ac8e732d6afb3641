from __future__ import annotations

from pathlib import Path

from rdv.stream.file.entry import SEALED, codec_of

VALUES = "s/t/1/00000000000000000000.jsonl"


def test_a_sound_stream_verifies(rdv, ten):
    verified = rdv("stream", "verify", "s")
    assert (verified.code, verified.err) == (0, "no damage in 10 records\n")
    assert rdv("stream", "verify", "s:t", "-p", 0, "--json").row()["records"] == 5
    assert rdv("stream", "verify", "s", "-q").out == ""
    repaired = rdv("stream", "repair", "s")
    assert (repaired.code, repaired.out, repaired.err) == (0, "", "nothing to repair\n")


def test_verify_names_the_damage_and_fails(rdv, damaged):
    verified = rdv("stream", "verify", "s")
    assert verified.code == 1
    assert verified.out.splitlines()[-1].startswith(f"{VALUES}: offset 1, bytes 2 to 3: ")
    assert "one damaged place in s: one record cannot be read" in verified.err
    assert "rdv stream repair s" in verified.err
    sound, hurt = rdv("stream", "verify", "s", "--json").rows()
    assert (sound["state"], sound["damage"]) == ("sound", [])
    (place,) = hurt["damage"]
    assert (place["path"], place["first_offset"], place["last_offset"]) == (VALUES, 1, 1)
    assert place["code"] == "value_damaged"
    assert (place["position_bytes"], place["size_bytes"]) == (2, 2)
    assert rdv("stream", "verify", "s:t", "-p", 0).code == 0


def test_repair_asks_and_reports(rdv, damaged):
    refused = rdv("stream", "repair", "s")
    assert refused.code == 3
    assert f"{VALUES}: offset 1, " in refused.err
    assert "--yes" in refused.err
    assert rdv("stream", "verify", "s").code == 1

    repaired = rdv("stream", "repair", "s", "--yes", "--json").row()
    assert repaired["given_up"] == 1
    assert all(Path(copy).exists() for copy in repaired["broken_copies"])
    assert f"{VALUES}.broken" in repaired["broken_copies"]

    after = rdv("stream", "verify", "s", "--json").rows()
    assert [(row["state"], row["records"], row["given_up"]) for row in after] == [
        ("sound", 5, 0),
        ("sound", 4, 1),
    ]
    assert rdv("tail", "s", "--format", "raw").out.split() == list("012456789")


def test_repair_in_words(rdv, damaged):
    repaired = rdv("stream", "repair", "s", "-y")
    assert repaired.code == 0
    assert f"kept {VALUES}.broken" in repaired.out.splitlines()


def test_tail_shows_what_can_be_read_then_names_the_damage(rdv, damaged):
    shown = rdv("tail", "s", "--format", "raw")
    assert shown.code == 1
    # All records of the intact partition, and those before the damage in the other.
    assert shown.out.split() == list("012468")
    assert f"damage in {VALUES}: offset 1 of t/1" in shown.err
    assert rdv("tail", "s:t", "-p", 1, "--offset", 2, "--format", "raw").code == 0


def test_a_repeated_seal_costs_no_record(rdv, ten):
    index = ten / "t/1/00000000000000000000.index"
    seal = codec_of("t/1", 0).pack(5, 10, 2**62, 0, 0, SEALED)
    with index.open("ab") as file:
        file.write(seal + seal)
    verified = rdv("stream", "verify", "s")
    assert verified.code == 1
    assert "one damaged place in s: all records can be read" in verified.err
    assert rdv("stream", "repair", "s", "--yes").code == 0
    assert rdv("stream", "verify", "s").code == 0
