# Finding and stopping the service.

# The pid of the service if it runs. A pid alone can belong to another process by now, so the server
# also writes down when it was started, as field 22 of /proc/<pid>/stat has it.
running_pid() {
    [ -r "$PID_FILE" ] || return 1
    read -r pid started <"$PID_FILE" || return 1
    stat=$(cat "/proc/$pid/stat" 2>/dev/null) || return 1
    # The second field is a name in brackets, which can hold spaces.
    set -- ${stat##*) }
    [ "$1" != Z ] && [ "${20}" = "$started" ] && echo "$pid"
}

# Stops the service; fine if it does not run.
stop_service() {
    if ! pid=$(running_pid); then
        echo "hello-web does not run"
        rm -f "$PID_FILE"
        return 0
    fi
    echo "stopping hello-web, process $pid"
    kill -TERM "$pid" 2>/dev/null || true
    tries=0
    while running_pid >/dev/null; do
        tries=$((tries + 1))
        if [ "$tries" -eq 100 ]; then
            echo "it did not stop within 10 seconds and is killed" >&2
            kill -KILL "$pid" 2>/dev/null || true
        elif [ "$tries" -gt 150 ]; then
            echo "process $pid cannot be killed" >&2
            return 1
        fi
        sleep 0.1
    done
    rm -f "$PID_FILE"
}
