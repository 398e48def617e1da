#!/bin/sh
# Installs slipway-agent by version and SHA-256, from a place of your own. Safe to run twice, or at every boot: what is
# installed already is left alone. For EC2 user data, fill in the next three lines. The place is the folder that holds the
# package: s3://BUCKET/FOLDER, read with the instance's role, https://HOST/FOLDER, or a directory of this host.
set -eu
from=${SLIPWAY_FROM:-s3://BUCKET/FOLDER}
version=${SLIPWAY_VERSION:-0.1.0}
sha256=${SLIPWAY_SHA256:-0000000000000000000000000000000000000000000000000000000000000000}

say() { echo "install slipway-agent: $*" >&2; }
# Address and header, in which secrets may be, go by standard input, here and below: everybody can read a command line.
fetch() { printf 'url = "%s"\nheader = "%s"\n' "$1" "$2" | (shift 2 && curl --config - --fail --silent --show-error --location \
    --retry 8 --retry-connrefused --connect-timeout 10 "$@"); }

# The bucket's region is taken to be the instance's; AWS_REGION and AWS_ENDPOINT_URL_S3 say otherwise.
from_s3() { # s3://bucket/key, file
    imds=${AWS_EC2_METADATA_SERVICE_ENDPOINT:-http://169.254.169.254}/latest # version 2 of it alone
    token=$(fetch "$imds/api/token" 'X-aws-ec2-metadata-token-ttl-seconds: 300' --noproxy '*' -X PUT)
    meta() { fetch "$imds/meta-data/$1" "X-aws-ec2-metadata-token: $token" --noproxy '*'; }
    region=${AWS_REGION:-$(meta placement/region)}
    keys=$(meta "iam/security-credentials/$(meta iam/security-credentials/ | head -n 1)" | tr -d ' \n')
    field() { printf %s "$keys" | sed "s/.*\"$1\":\"\([^\"]*\)\".*/\1/"; }
    base=${AWS_ENDPOINT_URL_S3:-https://s3.$region.$(meta services/domain)}
    # Signature Version 4 in the query, so that any curl will do; its HMAC of two digests, with keys in hexadecimal.
    pad() { for byte in $(printf %.128s "$2$(printf %0128d 0)" | sed 's/../0x& /g'); do printf "\\$(printf %o $((byte ^ $1)))"; done; }
    sha256() { openssl dgst -sha256 | sed 's/.* //'; }
    hmac() { (pad 92 "$1" && (pad 54 "$1" && printf %s "$2") | openssl dgst -sha256 -binary) | sha256; }
    encoded() { printf %s "$1" | sed 's|%|%25|g; s|+|%2B|g; s|/|%2F|g; s|=|%3D|g'; }
    now=$(date -u +%Y%m%dT%H%M%SZ)
    scope=${now%T*}/$region/s3/aws4_request
    query="X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=$(encoded "$(field AccessKeyId)/$scope")&X-Amz-Date=$now"
    query="$query&X-Amz-Expires=900&X-Amz-Security-Token=$(encoded "$(field Token)")&X-Amz-SignedHeaders=host"
    request=$(printf 'GET\n/%s\n%s\nhost:%s\n\nhost\nUNSIGNED-PAYLOAD' "${1#s3://}" "$query" "${base#*://}" | sha256)
    key=$(printf %s "AWS4$(field SecretAccessKey)" | od -An -v -tx1 | tr -d ' \n')
    for part in "${now%T*}" "$region" s3 aws4_request; do key=$(hmac "$key" "$part"); done
    signature=$(hmac "$key" "$(printf 'AWS4-HMAC-SHA256\n%s\n%s\n%s' "$now" "$scope" "$request")")
    fetch "$base/${1#s3://}?$query&X-Amz-Signature=$signature" 'Accept: */*' --output "$2"
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
http*://*) fetch "$from/$package" 'Accept: */*' --output "$folder/$package" ;;
*) cp "$from/$package" "$folder/$package" ;;
esac
echo "$sha256  $folder/$package" | sha256sum --check --quiet || { say "$from/$package is not what was wanted"; exit 1; }
case $package in
*.deb) DEBIAN_FRONTEND=noninteractive apt-get -qy -o DPkg::Lock::Timeout=300 --allow-downgrades install "$folder/$package" ;;
*) rpm --upgrade --oldpackage "$folder/$package" ;;
esac
