#!/bin/sh
# BeforeInstall: what the service needs that no bundle brings.
set -eu
. "$(dirname "$0")/settings.sh"

if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 7))'; then
    echo "python3, version 3.7 or later, is needed on this host" >&2
    exit 1
fi
mkdir -p "$STATE"
