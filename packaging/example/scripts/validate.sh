#!/bin/sh
# ValidateService: what was installed is what the revision brought.
set -eu

cmp "$(dirname "$0")/../hello.txt" /opt/hello/hello.txt
cat /opt/hello/hello.txt
