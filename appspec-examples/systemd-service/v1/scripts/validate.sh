#!/bin/sh
# ValidateService: the service ticks, by itself and as this version. That it was started is not enough: a service
# that ends at once is started again and again, and active in between.
set -eu
revision=$(cd "$(dirname "$0")/.." && pwd)
version=$(cat "$revision/app/version")

tries=0
until grep -qxE "version $version, tick ([3-9]|[0-9]{2,})" /run/ticker/state 2>/dev/null; do
    tries=$((tries + 1))
    if [ "$tries" -ge 80 ]; then
        systemctl status --no-pager --lines=10 ticker.service || true
        # The reason comes last: it is the line that the deployment's message quotes.
        echo "version $version does not tick: $(cat /run/ticker/state 2>/dev/null || echo 'it has written nothing')" >&2
        exit 1
    fi
    sleep 0.25
done
systemctl is-active --quiet ticker.service
echo "ticker runs: $(cat /run/ticker/state)"
