#!/bin/sh
# ApplicationStart: nginx goes over to the new configuration. Its old processes answer what they have begun, and the
# sockets stay open meanwhile: no request is refused.
set -eu

systemctl is-enabled --quiet nginx || systemctl enable --quiet nginx
if systemctl is-active --quiet nginx; then
    systemctl reload nginx
    echo "nginx reloaded its configuration"
else
    systemctl start nginx
    echo "nginx started"
fi
