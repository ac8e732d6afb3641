#!/usr/bin/env bash
# Sorts mail by handwritten digits. The champion is killed while letters come in: the other models
# answer, in time and marked as fallbacks, and it restarts. Takes about half a minute.
set -euo pipefail
home=$(mktemp -d)
server=
finish() {
    if [ -n "$server" ]; then kill -TERM "$server" 2>/dev/null || true; wait "$server" || true; fi
    rm -rf "$home"
}
trap finish EXIT
cd "$home"

step() { printf '\n\033[1m%s\033[0m\n' "$*"; }
run() { printf '$ %s\n' "$*"; "$@"; }

step "1. A decision is a directory. This one sorts letters; three models are trained for it now."
run rdv init mail --template digits

step "2. Who may answer, and when: the champion alone at first, then others, at last the manual bin."
run rdv schedule show mail

step "3. It is served: a rendezvous server, three models, a proxy, each a process of its own."
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
printf '$ rdv serve mail --port %s &\n' "$port"
rdv serve mail --port "$port" 2> serve.log &
server=$!
until grep -q "answers at" serve.log; do
    kill -0 "$server" || { cat serve.log; exit 1; }
    sleep 0.1
done
sed '/answers at/q' serve.log

step "4. One letter, and when each model had read it."
letter=$(head -n 1 mail/requests.jsonl | python3 -c 'import json, sys; print(json.dumps(json.load(sys.stdin)["data"]))')
rdv ask mail "$letter" --trace | python3 -c '
import json, sys
answer = json.load(sys.stdin)
print("bin {bin}, confidence {confidence}".format(**answer["result"]), "by", answer["model"])
print("\n".join("  {arrived_ms:6.2f} ms  {model}".format(**report) for report in answer["trace"]))'

step "5. Forty letters a second. After four seconds the champion is killed (SIGKILL)."
champion=$(rdv status mail --json | python3 -c '
import json, sys
print(next(p["pid"] for p in json.load(sys.stdin)["processes"] if p["name"] == "committee-0"))')
rdv load mail --rate 40 --duration 10s --progress --json --fail-if 'misses>0' --fail-if 'errors>0' > load.json 2> >(tee progress >&2) &
load=$!
sleep 4
printf '      killed the champion, process %s\n' "$champion"
kill -KILL "$champion"
wait "$load"
python3 - <<'PY'
import json
run = json.load(open("load.json"))
print(f"\n{run['requests']} letters: {run['right']:.1%} right, {run['misses']} answers too late, {run['errors']} errors")
for row in run["models"]:
    right = "" if row["right"] is None else f"{row['right']:.1%} right"
    print(f"  {row['model'] or 'manual bin':<12} {row['kind']:<10} {row['answers']:>5}  {right}")
PY

step "6. It has come back by itself."
grep committee-0 serve.log | tail -n 3
run rdv status mail

step "Where to look next"
cat <<'TEXT'
  rdv init mail --template digits; rdv serve mail       your own, in two terminals
  rdv load mail --rate 40 --duration 1m                 then kill what you like
  rdv status mail --watch                               who answers, how fast
  rdv schedule use mail fast-first                      while requests flow
  mail/rdv.toml, mail/models/*.py                       every setting has a comment
TEXT
