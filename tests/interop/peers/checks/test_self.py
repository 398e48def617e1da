"""The peers with each other: what they demand of others they keep themselves."""

from __future__ import annotations

import json
import threading

from .. import bundles, deployments, envelope, scenario, sdk, service, sigv4, trust, wire
from ..agent import Agent, Refused
from ..listener import Listener, Request, Response
from ..s3 import S3


def revision(marker):
    """A small revision that writes down which of its scripts ran."""
    appspec = {
        "version": 0.0,
        "os": "linux",
        "files": [{"source": "/site", "destination": marker}],
        "hooks": {
            "ApplicationStop": [{"location": "scripts/say.sh"}],
            "AfterInstall": [{"location": "scripts/say.sh", "timeout": 20}],
            "ValidateService": [{"location": "scripts/fail.sh"}],
        },
    }
    return {
        "appspec.yml": json.dumps(appspec),
        "site/index.html": "first\n",
        "scripts/say.sh": bundles.script("echo this is $LIFECYCLE_EVENT of $DEPLOYMENT_ID"),
        "scripts/fail.sh": bundles.script("echo it is broken >&2; exit 3"),
    }


class PeersTogether(scenario.Scenario):
    """A whole deployment between the two."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.host = wire.Host("arn:aws:iam::123456789012:user/peer", ("AKIAPEER", "secret/of+peer"))
        cls.stranger = wire.Host("arn:aws:iam::123456789012:user/other", ("AKIAOTHER", "secret"))
        cls.signer = trust.self_signed(cls.place / "signer", "Self Signed")

    def setUp(self):
        self.service = service.Service(self.tls, [self.host, self.stranger])
        self.addCleanup(self.service.stop)
        self.bucket_server = S3(self.tls, dict([self.host.key]))
        self.addCleanup(self.bucket_server.stop)
        self.bucket = self.bucket_server.bucket("peers-bucket")
        root = self.place / self.id().rpartition(".")[2]
        self.site = root / "site"
        self.agent = Agent(self.service.url, self.host, self.authority.certificate, root / "root")
        self.agent.s3 = sdk.client("s3", self.bucket_server.url, self.host.key, self.authority.certificate)

    def deployment(self, kind="zip", **more):
        self.bucket.put(f"app.{kind}", bundles.pack(kind, revision(str(self.site))))
        spec = deployments.specification(deployments.s3_revision("peers-bucket", f"app.{kind}", kind), **more)
        return deployments.Deployment(self.service, self.host, spec, lambda s: envelope.seal(s, self.signer))

    def work(self, deployment, events=deployments.IN_PLACE):
        """Runs a deployment while the agent works on it."""
        end = threading.Event()

        def steps():
            while not end.is_set():
                if self.agent.step() is None:
                    end.wait(0.05)

        worker = threading.Thread(target=steps)
        worker.start()
        try:
            return deployment.run(events, 20)
        finally:
            end.set()
            worker.join()

    def test_deployment_from_poll_to_report(self):
        self.assertEqual(self.agent.greet(), 404)
        for kind in ("zip", "tar", "tgz"):
            with self.subTest(kind):
                deployment = self.work(self.deployment(kind), deployments.IN_PLACE[:-1])
                self.assertEqual(deployment.status, "Succeeded")
                self.assertEqual((self.site / "index.html").read_text(), "first\n")
                self.assertFalse(deployment.commands["AfterInstall"].was_noop)
                self.assertTrue(deployment.commands["ApplicationStart"].was_noop)
                self.assertIn(f"AfterInstall of {deployment.id}", deployment.commands["AfterInstall"].completion.log)
        self.assertEqual(self.service.deviations, [])
        self.assertEqual(self.bucket_server.deviations, [])

    def test_failing_script_is_completed_twice(self):
        deployment = self.work(self.deployment())
        self.assertEqual(deployment.status, "Failed")
        failed = deployment.commands["ValidateService"]
        self.service.wait("the second completion", lambda: len(failed.completions) == 2, 5)
        self.assertEqual([c.code for c in failed.completions], [4, 5])
        self.assertIn("it is broken", failed.completion.log)
        self.assertEqual(self.service.deviations, [])

    def test_tampered_envelope_is_refused(self):
        deployment = self.deployment()
        deployment.envelope = envelope.tampered(deployment.envelope, b"app.zip", b"app.zap")
        deployment = self.work(deployment)
        self.assertEqual(deployment.statuses(), {"ApplicationStop": "Failed"})
        self.assertEqual(self.bucket_server.requests, [])

    def test_chain_is_looked_at_where_one_is_told_to(self):
        other = trust.Authority(self.place / "other-authority", "Other Authority")
        middle = trust.Authority(self.place / "middle", "Middle", parent=self.authority)
        cases = [
            (self.authority.signer("Leaf"), self.authority.certificate, True),
            (self.authority.signer("Curve", "ec"), self.authority.certificate, True),
            (middle.signer("Grandchild"), self.authority.certificate, True),
            (other.signer("Leaf"), self.authority.certificate, False),
            (self.signer, self.authority.certificate, False),
            (self.signer, None, True),
        ]
        for signer, ca_file, good in cases:
            for options in ((), ("-noattr",)):
                sealed = envelope.seal({"DeploymentId": "d-1"}, signer, *options)
                with self.subTest(signer=signer.certificate.name, ca_file=ca_file, options=options):
                    if good:
                        self.assertEqual(json.loads(envelope.open_envelope(sealed, ca_file)), {"DeploymentId": "d-1"})
                    else:
                        with self.assertRaises(envelope.BadEnvelope):
                            envelope.open_envelope(sealed, ca_file)

    def test_service_sees_what_is_wrong_with_a_request(self):
        poll = {"HostIdentifier": self.host.arn}
        with self.assertRaisesRegex(Refused, "InvalidSignatureException"):
            self.agent.call("PollHostCommand", poll, key=("AKIAPEER", "wrong"))
        with self.assertRaisesRegex(Refused, "InvalidSignatureException"):
            self.agent.call("PollHostCommand", poll, unsigned=True)
        with self.assertRaisesRegex(Refused, "signed for codedeploy-commands-secure"):
            self.agent.call("PollHostCommand", poll, protocol=wire.SECURE)
        with self.assertRaisesRegex(Refused, "asks for"):
            self.agent.call("PollHostCommand", {"HostIdentifier": self.stranger.arn})
        with self.assertRaisesRegex(Refused, "holds"):
            self.agent.call("PollHostCommand", poll | {"More": 1})
        with self.assertRaisesRegex(Refused, "has no command"):
            self.agent.complete({"HostCommandIdentifier": "unknown"}, "Succeeded")
        command = self.service.offer("Install", self.host, {}, "a/b/c/d")
        about = {"HostCommandIdentifier": command.identifier}
        for wrong in (
            {"status": "Succeeded", "code": 4},
            {"status": "Failed", "code": 9},
            {"status": "Pending"},
            {"status": "Failed", "code": 4, "log": "x" * 2049},
            {"status": "Failed", "code": 4, "message": "x" * 8192},
        ):
            with self.subTest(wrong), self.assertRaises(Refused):
                self.agent.complete(about, **wrong)
        self.assertEqual(command.completions, [])
        self.assertEqual(len(self.service.deviations), 11)

    def test_faults_of_the_service(self):
        poll = {"HostIdentifier": self.host.arn}
        self.service.fail_next("PollHostCommand", wire.BROKEN, wire.BROKEN)
        self.assertEqual(self.agent.call("PollHostCommand", poll), {})
        self.assertEqual(self.agent.call("PollHostCommand", poll), {"HostCommand": None})
        for fault, kind in ((wire.THROTTLED, "ThrottlingException"), (wire.NAMESPACED, "ClientException")):
            self.service.fail_next("PollHostCommand", fault)
            with self.assertRaises(Refused) as refused:
                self.agent.call("PollHostCommand", poll)
            self.assertEqual(refused.exception.kind, kind)
        self.service.fail_next("PollHostCommand", service.LOST)
        with self.assertRaises(OSError):
            self.agent.call("PollHostCommand", poll)

    def test_bucket_answers_as_s3_does(self):
        body = b"0123456789" * 1000
        stored = self.bucket.put("long name+?.bin", body, x_amz_meta_sha256="abc")
        client = self.agent.s3
        asked = {"Bucket": "peers-bucket", "Key": "long name+?.bin"}
        got = client.get_object(**asked, ChecksumMode="ENABLED", VersionId=stored.version)
        self.assertEqual((got["Body"].read(), got["Metadata"]), (body, {"sha256": "abc"}))
        self.assertIn("ChecksumSHA256", got)
        part = client.get_object(**asked, Range="bytes=5-14", IfMatch=stored.etag)
        self.assertEqual((part["Body"].read(), part["ContentRange"]), (body[5:15], "bytes 5-14/10000"))
        self.assertEqual(client.head_object(**asked)["ContentLength"], len(body))
        for wrong, code in (
            ({"Key": "nothing"}, "NoSuchKey"),
            ({"Bucket": "nobody"}, "NoSuchBucket"),
            ({"IfMatch": "no"}, "PreconditionFailed"),
        ):
            with self.assertRaises(client.exceptions.ClientError) as failed:
                client.get_object(**(asked | wrong))
            self.assertEqual(failed.exception.response["Error"]["Code"], code)
        self.assertEqual(self.bucket_server.deviations, [])

    def test_signature_covers_every_amz_header(self):
        sent = []

        def answer(request):
            sent.append(request)
            return Response(200, {}, b"{}")

        spy = Listener(answer, self.tls)
        self.addCleanup(spy.stop)
        agent = Agent(spy.url, self.host, self.authority.certificate, self.place / "spy")
        agent.call("PollHostCommand", {"HostIdentifier": self.host.arn})
        (good,) = sent
        keys = dict([self.host.key])
        self.assertEqual(sigv4.verify(good, keys).service, "codedeploy-commands")
        self.assertEqual(sigv4.verify(good, keys).headers, wire.SIGNED_HEADERS)
        changes = {
            "another header": Request(good.method, good.target, [*good.headers, ("X-Amz-More", "1")], good.body),
            "another body": Request(good.method, good.target, good.headers, good.body + b" "),
            "another path": Request(good.method, "/more", good.headers, good.body),
            "another method": Request("PUT", good.target, good.headers, good.body),
            "another target": Request(
                good.method,
                good.target,
                [(n, v.replace("Poll", "Pull") if n.lower() == "x-amz-target" else v) for n, v in good.headers],
                good.body,
            ),
            "none": Request(good.method, good.target, [("Host", "h")], good.body),
        }
        for name, changed in changes.items():
            with self.subTest(name), self.assertRaises(sigv4.NotSigned):
                sigv4.verify(changed, keys)
