#!/bin/sh
# ApplicationStop: may be called when nothing runs, and when the unit is gone.
set -eu

if systemctl cat ticker.service >/dev/null 2>&1; then
    systemctl stop ticker.service
fi
