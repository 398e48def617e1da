#!/bin/sh
# ApplicationStop: may be called when nothing runs.
set -eu
. "$(dirname "$0")/settings.sh"
. "$(dirname "$0")/service.sh"

stop_service
