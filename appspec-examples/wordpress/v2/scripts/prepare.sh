#!/bin/sh
# BeforeInstall: Apache, PHP, MariaDB and WordPress as the distribution has them, and curl, which validate.sh asks with.
set -eu
. "$(dirname "$0")/packages.sh"

install_packages apache2 libapache2-mod-php php-mysql mariadb-server wordpress curl
