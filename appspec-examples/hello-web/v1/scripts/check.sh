#!/bin/sh
# AfterInstall: the program is whole, before anything is started with it.
set -eu
. "$(dirname "$0")/settings.sh"

python3 - "$DESTINATION/server.py" <<'PYTHON'
import sys
with open(sys.argv[1]) as source:
    compile(source.read(), sys.argv[1], "exec")
PYTHON
echo "version $(cat "$DESTINATION/version") is installed in $DESTINATION"
