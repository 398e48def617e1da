#!/bin/sh
# ApplicationStart: a restart, so that what runs is this version also where nothing has stopped the old one.
set -eu

systemctl restart ticker.service
