#!/usr/bin/env bash
# Record an upgrade fixture: a small decision directory as this version of rdv leaves it.
# Usage: tests/data/record.sh VERSION, with the rdv to record on PATH. Run once per release; the
# result is committed and never changed, and tests/upgrade reads it with the code of today.
set -euo pipefail
version=$1
here=$(cd "$(dirname "$0")" && pwd)
place="$here/$version"
[ ! -e "$place" ] || { echo "$place is there already" >&2; exit 1; }
work=$(mktemp -d)
trap 'kill -INT "$serve" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"

mkdir templates
for template in ads digits fraud recommend retail; do
    rdv init "made-$template" --template "$template" >/dev/null
    cp "made-$template/rdv.toml" "templates/$template.toml"
done

# Models without a library and without weights, so that the fixture stays small.
mkdir -p decision/models decision/schedules
cp made-fraud/schedules/*.toml decision/schedules/
cat > decision/models/gbm.py <<'PY'
version = "gbm-1"


def predict(rows):
    for row in rows:
        if row["amount"] > 950:
            raise ValueError("an amount that gbm has never seen")
    return [{"score": row["amount"] / 1000, "action": "review"} for row in rows]
PY
sed -e 's/gbm-1/logit-1/; s/ > 950/ > 10000/; s/"review"/"accept"/' decision/models/gbm.py \
    > decision/models/logit.py
sed -i 's/"mlp"/"gbm"/g; s/"rules"/"logit"/g' decision/schedules/*.toml
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat > decision/rdv.toml <<TOML
name = "upgrade"
partitions = 2

[http]
port = $port

[log]
retention_ms = "forever"
segment_bytes = 4096

[models.gbm]
path = "models/gbm.py"

[models.logit]
path = "models/logit.py"

[models.archive]
builtin = "decoy"

[cohorts.treatment]
share = 0.3
schedule = "fast-first"
TOML

rdv serve decision > serve.log 2>&1 & serve=$!
until curl -sf "http://127.0.0.1:$port/readyz" >/dev/null; do sleep 0.2; done
ask() { curl -sf "http://127.0.0.1:$port/v1/decide" -d "$1"; }
for number in $(seq 1 120); do
    ask "{\"data\": {\"amount\": $((number * 8)), \"note\": \"ä→\\u0000 1.50\"}, \"key\": \"user-$((number % 20))\"}"
done > answers.jsonl
ask '{"data": {"amount": 1}, "schedule": "qa-challenger", "trace": true}' >> answers.jsonl
ask '{"data": {"amount": 2}, "schedule": {"sla_ms": 40, "default": null, "step": [{"accept": ["logit"]}]}}' >> answers.jsonl
ask '{"data": {"amount": 3}, "models": ["logit"], "deadline_ms": 20}' >> answers.jsonl
pkill -9 -f "component worker decision gbm" || true
for number in $(seq 1 20); do ask "{\"data\": {\"amount\": $number}}"; done >> answers.jsonl
ids=$(python3 -c 'import json; [print(json.loads(l)["id"]) for l in open("answers.jsonl")]')
n=0
for id in $ids; do
    n=$((n + 1))
    [ $((n % 3)) = 0 ] || continue
    [ $((n % 2)) = 0 ] && truth=true || truth=false
    curl -sf "http://127.0.0.1:$port/v1/outcomes" -d "{\"id\": \"$id\", \"outcome\": $truth}" >/dev/null
done
first=$(echo "$ids" | head -1)
rdv outcome decision "$first" true
rdv outcome decision "$first" null
sleep 2
kill -INT "$serve"; wait "$serve" || true

# Damage in the middle of one partition of the scores, found and settled by `repair`.
values=$(ls decision/scores/gbm/0/*.jsonl | head -1)
printf '\xff' | dd of="$values" bs=1 seek=900 conv=notrunc status=none
rdv stream verify decision/scores >/dev/null && exit 1
rdv stream repair decision/scores --yes

rm -rf decision/models/__pycache__
find decision -type p -delete
mkdir "$place"
mv decision templates answers.jsonl "$place/"
rdv --version > "$place/VERSION"
find "$place" -type f | wc -l
