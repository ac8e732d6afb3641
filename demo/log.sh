#!/usr/bin/env bash
# A short demonstration of the log: several processes share it, one is killed, nothing is lost.
set -euo pipefail
home=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$home"' EXIT
cd "$home"

step() { printf '\n\033[1m%s\033[0m\n' "$*"; }
run() { printf '$ %s\n' "$*"; eval "$*"; }

step "1. A stream is a directory of topics; here one with two partitions."
run "rdv stream create fraud/input --partitions 2 --topic requests"

step "2. Records come in; the key field decides the partition."
run "for n in 1 2 3 4 5 6; do echo \"{\\\"user\\\": \\\"u\$n\\\", \\\"amount\\\": \$((n * 17))}\"; done | rdv stream append fraud/input:requests --key-field user"

step "3. They are plain lines on disk, for any tool..."
run "head -n 2 fraud/input/requests/*/*.jsonl"

step "4. ...and records with offsets and times for rdv."
run "rdv tail fraud/input -n 3"

step "5. Four processes append 500,000 records each to one partition; one is killed with SIGKILL."
cat > writer.py <<'PY'
import sys
from rdv.stream import open_stream
with open_stream("load/input") as stream, stream.producer() as producer:
    for n in range(5000):
        producer.send_many("requests", [b'{"writer": %s, "n": %d}\n' % (sys.argv[1].encode(), n * 100 + i) for i in range(100)], partition=0)
PY
run "rdv stream create load/input --topic requests"
pids=()
for n in 1 2 3 4; do python writer.py "$n" & pids+=($!); done
rdv tail load/input -f --offset 0 --format raw | head -n 50000 > /dev/null || true
kill -9 "${pids[3]}"
echo "killed writer 4 (process ${pids[3]})"
wait "${pids[0]}" "${pids[1]}" "${pids[2]}"
run "rdv stream verify load/input"
run "rdv stream info load/input"

step "6. Damage is named, never handed out."
run "printf X | dd of=\$(ls load/input/requests/0/*.jsonl | head -n 1) bs=1 seek=1000 conv=notrunc status=none"
run "rdv stream verify load/input || true"
run "rdv stream repair load/input --yes"
run "rdv stream verify load/input"

step "How quick is it here? (make bench has the ratios to bare system calls)"
run "rdv stream bench --records 50000"
