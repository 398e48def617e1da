#!/bin/sh
# The last thing on the machine that an image is made on: deploys the revision, if there is one, and leaves nothing of
# this machine behind. The agent stays enabled, so that it starts with whatever is booted from the image.
set -eu
revision=${REVISION:-}

systemctl stop slipway-agent
if [ -n "$revision" ]; then
    slipway-agent deploy-local --bundle-location "$revision" --type "${REVISION_TYPE:-tgz}" \
        --deployment-group "${DEPLOYMENT_GROUP:-default-local-deployment-group}"
fi

slipway-agent image-clean

# What is not the agent's, and tells one machine from another all the same.
if command -v cloud-init >/dev/null 2>&1; then
    cloud-init clean --logs
fi
truncate --size 0 /etc/machine-id
rm -f /var/lib/dbus/machine-id /var/lib/systemd/random-seed
rm -rf /var/log/journal/*

systemctl is-enabled --quiet slipway-agent
slipway-agent image-clean --check
sync
