#!/bin/sh
# ValidateService: the page is this version's, and so is the configuration that serves it.
set -eu
revision=$(cd "$(dirname "$0")/.." && pwd)
version=$(cat "$revision/version")
url=http://127.0.0.1/

# A reload is asked for and not waited for, so an old process may still answer the first time.
tries=0
until answer=$(curl --silent --show-error --fail --include --noproxy '*' --max-time 5 "$url" 2>&1) &&
    printf '%s\n' "$answer" | grep -qi "^X-Website-Version: $version" &&
    printf '%s\n' "$answer" | grep -qF "This is version $version."; do
    tries=$((tries + 1))
    if [ "$tries" -ge 30 ]; then
        printf '%s\n' "$answer"
        # The reason comes last: it is the line that the deployment's message quotes.
        echo "$url does not answer with version $version" >&2
        exit 1
    fi
    sleep 0.5
done
echo "$url answers with version $version"
