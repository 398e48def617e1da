"""The tested agent, and whose certificates it takes."""

from __future__ import annotations

from .. import envelope, service, trust
from ..s3 import S3
from .against_agent import AgainstAgent


class Chain(AgainstAgent):
    """A host that was told whose specifications it may trust."""

    @classmethod
    def settings(cls):
        cls.roots = trust.Authority(cls.place / "spec-authority", "Specification Authority")
        cls.middle = trust.Authority(cls.place / "middle", "Middle", parent=cls.roots)
        return {"deployment_spec_ca_file": cls.roots.certificate}

    def test_only_signers_under_the_authority_pass(self):
        files = self.revision({"BeforeInstall": self.note("ran")})
        other = trust.Authority(self.place / "other", "Specification Authority")
        cases = {
            "a leaf": (self.roots.signer("Leaf"), True),
            "a leaf with a curve": (self.roots.signer("Curve", "ec"), True),
            "a leaf under an intermediate": (self.middle.signer("Grandchild"), True),
            "a leaf under another authority of that name": (other.signer("Leaf"), False),
            "a leaf of the TLS authority": (self.authority.signer("Leaf"), False),
            "one that signed itself": (self.signer, False),
        }
        for name, (signer, good) in cases.items():
            for options in ((), ("-noattr",)):
                with self.subTest(name, options=options):
                    before = len(self.noted())
                    seal = lambda spec, s=signer, o=options: envelope.seal(spec, s, *o)  # noqa: E731
                    deployment = self.deployment(self.put(files), seal).run(("DownloadBundle", "BeforeInstall"))
                    if good:
                        self.assert_succeeded(deployment)
                    else:
                        self.assert_failed(deployment, "DownloadBundle")
                        self.assertFalse(self.tested.folder(deployment).exists())
                    self.assertEqual(len(self.noted()) - before, int(good))


class NamedSigner(AgainstAgent):
    """A host that was told the signer's own certificate, one that signed itself."""

    @classmethod
    def settings(cls):
        return {"deployment_spec_ca_file": cls.signer.certificate}

    def test_only_that_signer_passes(self):
        files = self.revision({"AfterInstall": self.note("ran")})
        self.assert_succeeded(self.deploy(files))
        other = trust.self_signed(self.place / "other", "Self Signed")
        deployment = self.deployment(self.put(files), lambda spec: envelope.seal(spec, other))
        self.assert_failed(deployment.run(), "ApplicationStop")
        self.assertEqual(self.noted(), ["ran"])


class Homemade(AgainstAgent):
    """A service and a bucket that somebody wrote in an afternoon: HTTP/1.0, no headers, no extras, and the
    certificate that one openssl command makes, which is its own authority."""

    STYLE = service.HOMEMADE

    @classmethod
    def serve(cls):
        cls.tls = cls.certificate()
        served = service.Service(cls.tls, [cls.host], style=cls.STYLE)
        return served, S3(cls.tls, dict([cls.host.key]), cls.STYLE.version, bare=cls.STYLE.bare)

    @classmethod
    def certificate(cls):
        return trust.self_signed(cls.place / "tls", "localhost", options=("-addext", "subjectAltName=IP:127.0.0.1"))

    @classmethod
    def settings(cls):
        return {"ca_bundle": cls.tls.certificate if cls.tls else None}

    def test_deployment(self):
        for kind in ("zip", "tgz", "tar"):
            with self.subTest(kind):
                files = self.revision({"AfterInstall": self.note(kind)})
                self.assert_succeeded(self.deployment(self.put(files, kind)).run())
                self.assertEqual(self.noted()[-1:], [kind])


class SslCertFile(Homemade):
    """The same certificate, trusted by the environment's word."""

    @classmethod
    def settings(cls):
        return {"ca_bundle": None}

    @classmethod
    def environment(cls):
        return {"SSL_CERT_FILE": str(cls.tls.certificate)}


class LeafWithNamesOnly(Homemade):
    """A server's certificate under an authority, made without extensions but for its names."""

    @classmethod
    def certificate(cls):
        return cls.authority.issue("Only Names", "subjectAltName=IP:127.0.0.1\n", "rsa")

    @classmethod
    def settings(cls):
        return {"ca_bundle": cls.authority.certificate}


class WithoutTls(Homemade):
    """Loopback without TLS, for those who try things out."""

    @classmethod
    def certificate(cls):
        return None
