"""The tested agent, and what a bucket may do."""

from __future__ import annotations

import hashlib
import os
import zlib

from .. import bundles, deployments, listener
from ..s3 import failure
from .against_agent import BUCKET, AgainstAgent, base64_digest


class Buckets(AgainstAgent):
    """What a bucket may do."""

    def download(self, revision, **more):
        return self.deployment(revision, **more).run(("DownloadBundle",))

    def files(self):
        return self.revision({}, {"site/noise": os.urandom(3_000_000)})

    def large_files(self):
        """What a bundle or its content may be under the agent's root."""
        return {path for path in self.tested.root.rglob("*") if path.is_file() and path.stat().st_size > 2_000_000}

    def test_bucket_in_another_region(self):
        self.s3.bucket("far-bucket", "eu-west-1").put("a.zip", bundles.pack("zip", self.files()))
        self.assert_succeeded(self.download(deployments.s3_revision("far-bucket", "a.zip", "zip")))

    def test_versions_and_odd_keys(self):
        key = "a dir/ü+ö=&?#%41~'(1).zip"
        old = self.bucket.put(key, bundles.pack("zip", self.revision({}, {"which": "old"})))
        self.bucket.put(key, bundles.pack("zip", self.revision({}, {"which": "new"})))
        newest = self.download(deployments.s3_revision(BUCKET, key, "zip"))
        self.assert_succeeded(newest)
        self.assertEqual((self.tested.archive(newest) / "which").read_text(), "new")
        older = self.download(deployments.s3_revision(BUCKET, key, "zip", Version=old.version, ETag=old.etag))
        self.assert_succeeded(older)
        self.assertEqual((self.tested.archive(older) / "which").read_text(), "old")
        self.assertIn(old.etag, self.s3.requests[-1].header("if-match") or "")
        missing = self.download(deployments.s3_revision(BUCKET, key, "zip", Version="none"))
        self.assert_failed(missing, "DownloadBundle", holds=(BUCKET, key, "none"))

    def test_what_cannot_be_had(self):
        missing = self.download(deployments.s3_revision(BUCKET, "not/there.tgz", "tgz"))
        self.assert_failed(missing, "DownloadBundle", holds=(BUCKET, "not/there.tgz"))
        nowhere = self.download(deployments.s3_revision("no-such-bucket", "a.zip", "zip"))
        self.assert_failed(nowhere, "DownloadBundle", holds="no-such-bucket")
        self.s3.fail_next(failure(403, "AccessDenied", "Access Denied"))
        denied = self.download(self.put(self.files()))
        self.assert_failed(denied, "DownloadBundle", holds=(BUCKET, "GetObject"))

    def test_checksums_that_hold(self):
        body = bundles.pack("tgz", self.files())
        half = len(body) // 2
        parts = hashlib.md5(hashlib.md5(body[:half]).digest() + hashlib.md5(body[half:]).digest()).hexdigest()
        crc32 = base64_digest(zlib.crc32(body).to_bytes(4, "big"))
        cases = {
            "plain": {},
            "no checksum": {"checksum": None},
            "metadata": {"x_amz_meta_sha256": hashlib.sha256(body).hexdigest()},
            "kms": {"etag": "0" * 32, "x_amz_server_side_encryption": "aws:kms"},
            "multipart": {"etag": f"{parts}-2", "checksum": None},
            "crc32": {"checksum": None, "x_amz_checksum_crc32": crc32},
            "crc64": {"checksum": None, "x_amz_checksum_crc64nvme": base64_digest(crc64nvme(body).to_bytes(8, "big"))},
            "sha1": {"checksum": None, "x_amz_checksum_sha1": base64_digest(hashlib.sha1(body).digest())},
        }
        for name, stored in cases.items():
            with self.subTest(name):
                key = f"{self.group}/{name}.tgz"
                etag = self.bucket.put(key, body, **stored).etag
                self.assert_succeeded(self.download(deployments.s3_revision(BUCKET, key, "tgz")))
                place = {"ETag": etag, "ChecksumSHA256": hashlib.sha256(body).hexdigest()}
                self.assert_succeeded(self.download(deployments.s3_revision(BUCKET, key, "tgz", **place)))
        self.assertTrue(any(r.header("x-amz-checksum-mode") == "ENABLED" for r in self.s3.requests))

    def test_checksums_that_do_not_hold(self):
        before = self.large_files()
        body = bundles.pack("tgz", self.files())
        digest = hashlib.sha256(body).hexdigest()
        wrong = hashlib.sha256(b"other").hexdigest()
        cases = {
            "header": ({"checksum": base64_digest(bytes.fromhex(wrong))}, {}),
            "crc32": ({"checksum": None, "x_amz_checksum_crc32": "AAAAAA=="}, {}),
            "crc64": ({"checksum": None, "x_amz_checksum_crc64nvme": "AAAAAAAAAAA="}, {}),
            "metadata": ({"x_amz_meta_sha256": wrong}, {}),
            "specification": ({}, {"ChecksumSHA256": wrong}),
            "etag of another": ({}, {"ETag": "0123456789abcdef0123456789abcdef"}),
            "etag that is the content's": ({"etag": "0123456789abcdef0123456789abcdef"}, {}),
        }
        for name, (stored, place) in cases.items():
            with self.subTest(name):
                key = f"{self.group}/{name}.tgz"
                self.bucket.put(key, body, **stored)
                deployment = self.download(deployments.s3_revision(BUCKET, key, "tgz", **place))
                self.assert_failed(deployment, "DownloadBundle")
                if name in ("metadata", "specification"):
                    self.assert_failed(deployment, "DownloadBundle", holds=(digest, wrong))
                self.assertFalse(self.tested.archive(deployment).exists())
                self.assertEqual(self.large_files() - before, set())

    def test_broken_connections_and_busy_buckets(self):
        def cut(_, answered):
            return listener.Response(answered.status, answered.headers, answered.body, cut_after=1_000_000)

        self.s3.fail_next(cut)
        self.assert_succeeded(self.download(self.put(self.files())))
        self.s3.fail_next(failure(503, "SlowDown", "Please reduce your request rate."))
        self.assert_succeeded(self.download(self.put(self.files())))
        self.s3.fail_next(failure(500, "InternalError", "We encountered an internal error. Please try again."))
        self.assert_succeeded(self.download(self.put(self.files())))

    def test_bundles_that_are_not_what_they_say(self):
        whole = bundles.pack("tgz", self.files())
        cases = {
            "cut": ("tgz", whole[: len(whole) // 2]),
            "zip as tgz": ("tgz", bundles.pack("zip", self.files())),
            "text": ("zip", b"<html>not found</html>"),
            "escape": ("tar", bundles.pack("tar", {"../../escape": "x", "appspec.yml": "version: 0.0\nos: linux\n"})),
        }
        for name, (kind, body) in cases.items():
            with self.subTest(name):
                key = f"{self.group}/{name}"
                self.bucket.put(key, body)
                deployment = self.download(deployments.s3_revision(BUCKET, key, kind))
                self.assert_failed(deployment, "DownloadBundle")
                self.assertFalse(self.tested.archive(deployment).exists())
        self.assertEqual(list(self.place.rglob("escape")), [])

    def test_an_absolute_path_of_a_bundle_is_below_the_revision(self):
        named = {f"{self.place}/absolute": "x", "appspec.yml": "version: 0.0\nos: linux\n"}
        for kind in ("tar", "zip"):
            with self.subTest(kind):
                key = f"{self.group}/absolute.{kind}"
                self.bucket.put(key, bundles.pack(kind, named))
                deployment = self.download(deployments.s3_revision(BUCKET, key, kind))
                self.assert_succeeded(deployment)
                below = self.tested.archive(deployment) / self.place.relative_to("/") / "absolute"
                self.assertEqual(below.read_text(), "x")
                self.assertFalse((self.place / "absolute").exists())


def crc64nvme(body):
    """The checksum that S3 gives every object that comes without one."""
    crc = 0xFFFFFFFFFFFFFFFF
    for byte in body:
        crc = CRC64_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFFFFFFFFFF


def crc64_entry(value):
    for _ in range(8):
        value = (value >> 1) ^ (0x9A6C9329AC4BC9B5 if value & 1 else 0)
    return value


CRC64_TABLE = [crc64_entry(value) for value in range(256)]
