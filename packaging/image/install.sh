#!/bin/sh
# On the machine that an image is made on: installs the agent from its package. It is enabled and does not run, not even
# for a moment: this machine is nobody's to deploy to.
set -eu
: "${AGENT_PACKAGE:?the path of the package of slipway-agent}" "${AGENT_SHA256:?its SHA-256}"

# A first boot may not be over yet, and with it another apt.
if command -v cloud-init >/dev/null 2>&1; then
    cloud-init status --wait >/dev/null || echo "cloud-init has not ended well; going on"
fi
echo "$AGENT_SHA256  $AGENT_PACKAGE" | sha256sum --check --strict

policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
apt-get update -q
DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends -o DPkg::Lock::Timeout=300 "$AGENT_PACKAGE"
rm -f "$AGENT_PACKAGE"
systemctl enable --quiet slipway-agent
systemctl stop slipway-agent
slipway-agent --version
