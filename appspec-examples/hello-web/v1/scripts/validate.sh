#!/bin/sh
# ValidateService: the page answers and is the one of this version.
set -eu
. "$(dirname "$0")/settings.sh"

exec python3 - "http://$ADDRESS:$PORT/" "This is version $VERSION." <<'PYTHON'
import sys
import time
import urllib.request

url, expected = sys.argv[1:]
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
deadline = time.monotonic() + 15
while True:
    try:
        with direct.open(url, timeout=2) as answer:
            page = answer.read(100_000).decode("utf-8", "replace")
        break
    except OSError as error:
        if time.monotonic() > deadline:
            sys.exit(f"{url} did not answer within 15 seconds: {error}")
        time.sleep(0.1)

if expected not in page:
    # The reason comes last: it is the line that the deployment's message quotes.
    print(page)
    sys.exit(f"{url} answers, but its page does not say {expected!r}")
print(f"{url} says {expected!r}")
PYTHON
