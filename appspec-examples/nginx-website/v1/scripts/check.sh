#!/bin/sh
# AfterInstall: nginx takes its new configuration, before anything is told to use it.
set -eu

# Debian's example site is the default server too, and nginx accepts one alone.
if [ -L /etc/nginx/sites-enabled/default ]; then
    rm /etc/nginx/sites-enabled/default
fi
nginx -t
