#!/bin/sh
# ApplicationStop: the web server alone. The database keeps running, since others may use it.
set -eu

systemctl stop apache2
