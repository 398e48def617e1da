#!/bin/sh
# BeforeInstall: nginx as the distribution has it, and curl, which validate.sh asks with.
set -eu
. "$(dirname "$0")/packages.sh"

install_packages nginx curl
