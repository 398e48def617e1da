#!/bin/sh
# ApplicationStart: a daemon in a session of its own that holds nothing of this script.
set -eu
. "$(dirname "$0")/settings.sh"
. "$(dirname "$0")/service.sh"

# Whatever runs by now is not this version.
stop_service

setsid python3 "$DESTINATION/server.py" \
    --address "$ADDRESS" --port "$PORT" --pid-file "$PID_FILE" \
    </dev/null >>"$LOG_FILE" 2>&1 &

# The server writes its pid once it listens.
tries=0
until pid=$(running_pid); do
    tries=$((tries + 1))
    if [ "$tries" -gt 100 ] || ! kill -0 $! 2>/dev/null; then
        echo "hello-web did not start; the end of $LOG_FILE:" >&2
        tail -n 5 "$LOG_FILE" >&2
        exit 1
    fi
    sleep 0.1
done
echo "hello-web runs as process $pid on http://$ADDRESS:$PORT/"
