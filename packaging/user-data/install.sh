#!/bin/sh
# Installs slipway-agent by version and SHA-256, from a place of your own. Safe to run twice, or at every boot: what is
# installed already is left alone. For EC2 user data, fill in the next three lines. The place is the folder that holds the
# package: s3://BUCKET/FOLDER, read with the instance's role, https://HOST/FOLDER, or a directory of this host.
set -eu
from=${SLIPWAY_FROM:-s3://BUCKET/FOLDER}
version=${SLIPWAY_VERSION:-0.1.0}
sha256=${SLIPWAY_SHA256:-0000000000000000000000000000000000000000000000000000000000000000}

say() { echo "install slipway-agent: $*" >&2; }
fetch() { curl --fail --silent --show-error --location --retry 8 --retry-connrefused --connect-timeout 10 "$@"; }

# The bucket's region is taken to be the instance's; AWS_REGION and AWS_ENDPOINT_URL_S3 say otherwise.
from_s3() { # s3://bucket/key, file
    imds=${AWS_EC2_METADATA_SERVICE_ENDPOINT:-http://169.254.169.254}/latest
    # The metadata service's version 2, which every instance answers; version 1 may be turned off.
    token=$(fetch --noproxy '*' -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 300' "$imds/api/token")
    meta() { fetch --noproxy '*' -H "X-aws-ec2-metadata-token: $token" "$imds/meta-data/$1"; }
    region=${AWS_REGION:-$(meta placement/region)}
    role=$(meta iam/security-credentials/ | head -n 1)
    keys=$(meta "iam/security-credentials/$role" | tr -d ' \n')
    field() { printf %s "$keys" | sed "s/.*\"$1\":\"\([^\"]*\)\".*/\1/"; }
    base=${AWS_ENDPOINT_URL_S3:-https://s3.$region.$(meta services/domain)}
    path=/${1#s3://}
    # Signature Version 4 in the query, so that any curl will do.
    hmac() { printf %s "$2" | openssl dgst -sha256 -mac HMAC -macopt "$1" | sed 's/.* //'; }
    encoded() { printf %s "$1" | sed 's|%|%25|g; s|+|%2B|g; s|/|%2F|g; s|=|%3D|g'; }
    now=$(date -u +%Y%m%dT%H%M%SZ)
    scope=${now%T*}/$region/s3/aws4_request
    query="X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=$(encoded "$(field AccessKeyId)/$scope")&X-Amz-Date=$now"
    query="$query&X-Amz-Expires=900&X-Amz-Security-Token=$(encoded "$(field Token)")&X-Amz-SignedHeaders=host"
    request=$(printf 'GET\n%s\n%s\nhost:%s\n\nhost\nUNSIGNED-PAYLOAD' "$path" "$query" "${base#*://}")
    digest=$(printf %s "$request" | openssl dgst -sha256 | sed 's/.* //')
    key=key:AWS4$(field SecretAccessKey)
    for part in "${now%T*}" "$region" s3 aws4_request; do key=hexkey:$(hmac "$key" "$part"); done
    signature=$(hmac "$key" "$(printf 'AWS4-HMAC-SHA256\n%s\n%s\n%s' "$now" "$scope" "$digest")")
    fetch --output "$2" "$base$path?$query&X-Amz-Signature=$signature"
}

if command -v dpkg >/dev/null; then
    package=slipway-agent_$version-1_$(dpkg --print-architecture).deb
    installed=$(dpkg-query --show --showformat '${db:Status-Status} ${Version}' slipway-agent 2>/dev/null || true)
else
    package=slipway-agent-$version-1.$(uname -m).rpm
    installed=$(rpm --query --queryformat 'installed %{VERSION}-%{RELEASE}' slipway-agent || true)
fi
if [ "$installed" = "installed $version-1" ]; then say "$version is installed"; exit 0; fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
case $from in
s3://*) from_s3 "$from/$package" "$folder/$package" ;;
http*://*) fetch --output "$folder/$package" "$from/$package" ;;
*) cp "$from/$package" "$folder/$package" ;;
esac
echo "$sha256  $folder/$package" | sha256sum --check --quiet || { say "$from/$package is not what was wanted"; exit 1; }
case $package in
*.deb) DEBIAN_FRONTEND=noninteractive apt-get -qy -o DPkg::Lock::Timeout=300 --allow-downgrades install "$folder/$package" ;;
*) rpm --upgrade --oldpackage "$folder/$package" ;;
esac
