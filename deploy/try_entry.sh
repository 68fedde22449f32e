#!/usr/bin/env bash
# Runs the image's entry command as a container would, without Docker: process 1, another user, nothing but the data
# directory to write to, 64 MiB of /dev/shm; waits until it is ready, sends SIGTERM, and looks what is left.
# As root, in the program's folder: deploy/try_entry.sh DATA_DIR [OPTIONS OF app.py ...]
set -euo pipefail
data=$(realpath "$1") seconds=${SECONDS_TO_READY:-300} port=${PORT:-7861}
shift
chown -R 10001:10001 "$data"
inside='
mount --bind "$DATA" "$DATA"
mount -o remount,bind,ro /
mount -t tmpfs -o size=64m,mode=1777 none /dev/shm
exec setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs --bounding-set=-all \
  env -i PATH=/usr/bin:/bin TMPDIR="$DATA/tmp" SHORTHAND_DATA_DIR="$DATA" USER=shorthand PYTHONUNBUFFERED=1 ${KEEP_HOME:+HOME="$DATA"} \
  "$PWD/.venv/bin/python" app.py --request-log - "$@"'
log=$(mktemp)
DATA=$data unshare --mount --pid --fork --mount-proc bash -c "$inside" entry --port "$port" "$@" >"$log" 2>&1 &
unshared=$!
answer() { curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/$1" || true; }
for _ in $(seq "$seconds"); do
  kill -0 $unshared 2>/dev/null || break
  [ "$(answer readyz)" = 200 ] && sleep ${HOLD:-0} && break
  sleep 1
done
kill -0 $unshared 2>/dev/null || { cat "$log"; exit 1; }
echo "healthz $(answer healthz), readyz $(answer readyz)"
first=$(pgrep -P $unshared)
inner=$(readlink "/proc/$first/ns/pid")
within() { for p in /proc/[0-9]*; do [ "$(readlink "$p/ns/pid" 2>/dev/null)" = "$inner" ] && basename "$p"; done; true; }
echo "processes: $(within | wc -l), of user $(stat -c %u /proc/$first), /dev/shm: $(du -sm "/proc/$first/root/dev/shm" | cut -f1) MiB"
began=$(date +%s%N)
kill -TERM "$first"
status=0; wait $unshared || status=$?
echo "status $status after $((($(date +%s%N) - began) / 1000000)) ms, processes left: $(within | wc -l)"
tail -n 25 "$log"
exit $status
