"""SigV4 from the other side: what a request should have been signed with, computed by botocore."""

import dataclasses
import datetime
import hashlib
import hmac
import re

from . import sdk

AUTHORIZATION = re.compile(
    r"^AWS4-HMAC-SHA256 Credential=(?P<key>[A-Za-z0-9]+)/(?P<date>\d{8})/(?P<region>[a-z0-9-]+)/"
    r"(?P<service>[a-z0-9-]+)/aws4_request, ?SignedHeaders=(?P<headers>[a-z0-9;-]+), ?"
    r"Signature=(?P<signature>[0-9a-f]{64})$"
)
SKEW = datetime.timedelta(minutes=5)
UNSIGNED = "UNSIGNED-PAYLOAD"


class NotSigned(Exception):
    """A request carries no signature, or not the right one."""


@dataclasses.dataclass(frozen=True)
class Signature:
    """What a valid signature said."""

    key: str
    region: str
    service: str
    headers: str


def verify(request, secrets):
    """Checks the signature of a `listener.Request` against the secrets by key id."""
    given = AUTHORIZATION.match(request.header("authorization") or "")
    if not given:
        raise NotSigned(f"Authorization is {request.header('authorization')!r}")
    if given["key"] not in secrets:
        raise NotSigned(f"the key {given['key']} is not known")
    time = request.header("x-amz-date") or ""
    try:
        moment = datetime.datetime.strptime(time, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
    except ValueError as error:
        raise NotSigned(f"x-amz-date is {time!r}") from error
    if abs(datetime.datetime.now(datetime.timezone.utc) - moment) > SKEW or not time.startswith(given["date"]):
        raise NotSigned(f"signed at {time}, scope of {given['date']}")
    digest = request.header("x-amz-content-sha256")
    body = hashlib.sha256(request.body).hexdigest()
    if digest not in (body, UNSIGNED):
        raise NotSigned(f"x-amz-content-sha256 is {digest!r}, and the body's digest is {body}")
    if given["service"] != "s3" and digest == UNSIGNED:
        raise NotSigned("the payload is not signed")

    names = given["headers"].split(";")
    missing = [name for name in names if request.header(name) is None]
    if missing or names != sorted(set(names)) or "host" not in names:
        raise NotSigned(f"SignedHeaders is {given['headers']}, of which {missing} are not sent")
    # Every x-amz header that is sent must be signed too.
    loose = [n for n, _ in request.headers if n.lower().startswith("x-amz-") and n.lower() not in names]
    if loose:
        raise NotSigned(f"sent but not signed: {loose}")
    expected = signature(request, given, names, (given["key"], secrets[given["key"]]))
    if not hmac.compare_digest(expected, given["signature"]):
        raise NotSigned(f"the signature is {given['signature']}, expected {expected}")
    return Signature(given["key"], given["region"], given["service"], given["headers"])


def signature(request, scope, names, key):
    """The signature that botocore computes over the named headers of a request."""
    url = f"https://{request.header('host')}{request.target}"
    signed = sdk.awsrequest.AWSRequest(method=request.method, url=url, data=request.body)
    for name in names:
        signed.headers[name] = request.header(name)
    signed.context["timestamp"] = request.header("x-amz-date")
    kind = sdk.auth.S3SigV4Auth if scope["service"] == "s3" else sdk.auth.SigV4Auth
    signer = kind(sdk.credentials.Credentials(*key), scope["service"], scope["region"])
    canonical = signer.canonical_request(signed)
    return signer.signature(signer.string_to_sign(signed, canonical), signed)
