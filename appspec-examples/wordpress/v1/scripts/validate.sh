#!/bin/sh
# ValidateService: the installer's page is there, which takes Apache, PHP, WordPress and the database, and it is made
# by this version. It is there too once the site is set up, and says so then.
set -eu
revision=$(cd "$(dirname "$0")/.." && pwd)
version=$(cat "$revision/version")
url=http://127.0.0.1/wp-admin/install.php

tries=0
until answer=$(curl --silent --show-error --fail --include --noproxy '*' --max-time 20 "$url" 2>&1) &&
    printf '%s\n' "$answer" | grep -qi "^X-Site-Version: $version" &&
    printf '%s\n' "$answer" | grep -qF '<title>WordPress'; do
    tries=$((tries + 1))
    if [ "$tries" -ge 20 ]; then
        printf '%s\n' "$answer" | head -n 40
        # The reason comes last: it is the line that the deployment's message quotes.
        echo "$url does not show the installer of version $version" >&2
        exit 1
    fi
    sleep 1
done
echo "$url shows the installer of version $version"
