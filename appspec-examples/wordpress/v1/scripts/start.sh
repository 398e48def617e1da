#!/bin/sh
# ApplicationStart: a restart, so that Apache has this version's configuration also where nothing has stopped it.
set -eu

systemctl start mariadb
systemctl is-enabled --quiet apache2 || systemctl enable --quiet apache2
systemctl restart apache2
