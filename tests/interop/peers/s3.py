"""A stand-in for S3: objects in memory, read by signed GET and HEAD in path style."""

import base64
import dataclasses
import hashlib
import threading
import urllib.parse

from . import listener, sigv4

NOT_FOUND = 404


@dataclasses.dataclass
class Object:
    """One version of an object, and the headers it is served with."""

    body: bytes
    etag: str
    version: str
    headers: dict


class Bucket:
    """A bucket: where it is, what is in it, and what went wrong with it so far."""

    def __init__(self, name, region="us-east-1"):
        self.name = name
        self.region = region
        self.objects = {}

    def put(self, key, body, etag=None, checksum=True, **headers):
        """Puts an object and gives it; `headers` are sent with it, with `_` for `-`.

        `etag` replaces the MD5 that plain objects have; `checksum` is `True` for a SHA-256 of the whole
        object, or the value to send.
        """
        version = base64.urlsafe_b64encode(hashlib.sha256(body + key.encode()).digest())[:32].decode()
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if checksum is True:
            checksum = base64.b64encode(hashlib.sha256(body).digest()).decode()
        if checksum:
            sent.setdefault("x-amz-checksum-sha256", checksum)
            sent.setdefault("x-amz-checksum-type", "COMPOSITE" if "-" in checksum else "FULL_OBJECT")
        stored = Object(body, etag or hashlib.md5(body).hexdigest(), version, sent)
        self.objects.setdefault(key, []).append(stored)
        return stored


class S3:
    """Buckets behind one HTTPS address. What clients do wrong is collected in `deviations`."""

    def __init__(self, pair, keys, version="HTTP/1.1", bare=False):
        self.keys = keys
        # Without any header that is not HTTP's own.
        self.bare = bare
        self.buckets = {}
        self.requests = []
        self.deviations = []
        self.faults = []
        self.lock = threading.Lock()
        self.listener = listener.Listener(self.answer, pair, version)

    @property
    def url(self):
        """Where it listens."""
        return self.listener.url

    def bucket(self, name, region="us-east-1"):
        """A new bucket."""
        self.buckets[name] = Bucket(name, region)
        return self.buckets[name]

    def fail_next(self, *faults):
        """Answers the next requests by these: a `listener.Response`, or a function of request and answer."""
        with self.lock:
            self.faults.extend(faults)

    def stop(self):
        """Stops listening."""
        self.listener.stop()

    def answer(self, request):
        """Answers one request."""
        with self.lock:
            self.requests.append(request)
            fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, listener.Response):
            return fault
        answered = self.read(request)
        if self.bare:
            answered.headers = {}
        return fault(request, answered) if fault else answered

    def read(self, request):
        """The answer to a GET or HEAD, as S3 gives it."""
        if request.method not in ("GET", "HEAD"):
            self.deviations.append(f"S3 was asked to {request.method} {request.target}")
            return failure(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")
        _, name, *key = urllib.parse.unquote(urllib.parse.urlsplit(request.target).path).split("/", 2)
        bucket = self.buckets.get(name)
        if bucket is None:
            return failure(NOT_FOUND, "NoSuchBucket", "The specified bucket does not exist")
        try:
            signature = sigv4.verify(request, self.keys)
        except sigv4.NotSigned as error:
            self.deviations.append(f"S3 {request.method} {request.target}: {error}")
            return failure(403, "SignatureDoesNotMatch", str(error))
        if signature.service != "s3":
            self.deviations.append(f"S3 {request.target}: signed for {signature.service}")
        where = {"x-amz-bucket-region": bucket.region}
        if signature.region != bucket.region:
            return failure(
                301,
                "PermanentRedirect",
                "The bucket you are attempting to access must be addressed using the specified endpoint.",
                where,
            )
        return self.object(request, bucket, key[0] if key else "")

    def object(self, request, bucket, key):
        """An object or a part of it."""
        versions = bucket.objects.get(key, [])
        wanted = request.query.get("versionId")
        found = [v for v in versions if wanted in (None, v.version)]
        if not found:
            code = "NoSuchVersion" if versions else "NoSuchKey"
            return failure(NOT_FOUND, code, f"The specified {'version' if versions else 'key'} does not exist.")
        stored = found[-1]
        quoted = f'"{stored.etag}"'
        headers = {
            "ETag": quoted,
            "Last-Modified": "Thu, 01 Oct 2026 10:00:00 GMT",
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
            "Server": "AmazonS3",
            "x-amz-id-2": "cGVlcnMvcGVlcnMvcGVlcnM=",
            "x-amz-request-id": "PEERS0123456789A",
            "x-amz-version-id": stored.version,
        }
        asked = request.header("x-amz-checksum-mode") == "ENABLED"
        hidden = "x-amz-checksum-"
        headers |= {k: v for k, v in stored.headers.items() if not k.startswith(hidden)}
        if_match = request.header("if-match")
        if if_match is not None and if_match not in (quoted, stored.etag, "*"):
            return failure(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
        part = span(request, stored, quoted)
        if part is None:
            if asked:
                headers |= {k: v for k, v in stored.headers.items() if k.startswith(hidden)}
            return listener.Response(200, headers | {"Content-Length": str(len(stored.body))}, stored.body)
        first, last = part
        if first >= len(stored.body):
            return failure(416, "InvalidRange", "The requested range is not satisfiable")
        last = min(last, len(stored.body) - 1)
        body = stored.body[first : last + 1]
        headers["Content-Range"] = f"bytes {first}-{last}/{len(stored.body)}"
        return listener.Response(206, headers | {"Content-Length": str(len(body))}, body)


def span(request, stored, etag):
    """The first and last byte that a request asks for; nothing if it wants the whole object."""
    text = request.header("range")
    condition = request.header("if-range")
    if not text or not text.startswith("bytes=") or (condition and condition.strip('"') != etag.strip('"')):
        return None
    first, _, last = text.removeprefix("bytes=").partition("-")
    if not first:
        return max(0, len(stored.body) - int(last)), len(stored.body) - 1
    return int(first), int(last) if last else len(stored.body) - 1


def failure(status, code, message, headers=None):
    """An error in S3's XML."""
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message>'
        "<RequestId>PEERS0123456789A</RequestId><HostId>cGVlcnM=</HostId></Error>"
    )
    kind = {"Content-Type": "application/xml", "x-amz-request-id": "PEERS0123456789A"}
    return listener.Response(status, kind | (headers or {}), body.encode())
