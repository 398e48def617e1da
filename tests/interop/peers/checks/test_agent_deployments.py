"""The tested agent through whole deployments, for a service that knows nothing of it."""

from __future__ import annotations

import itertools
import json
import os

from .. import deployments, envelope, trust, wire
from .against_agent import BUCKET, AgainstAgent

NINE = [
    "BeforeBlockTraffic", "AfterBlockTraffic", "ApplicationStop", "BeforeInstall", "AfterInstall",
    "ApplicationStart", "ValidateService", "BeforeAllowTraffic", "AfterAllowTraffic",
]  # fmt: skip


class Deployments(AgainstAgent):
    """Whole deployments, and the ways in which their content makes them fail."""

    SETTINGS = {"output_grace_seconds": 1}

    def test_whole_deployment_in_every_bundle_type(self):
        hooks = {
            "ApplicationStop": self.note("stop-$DEPLOYMENT_ID"),
            "BeforeInstall": self.note("before-$LIFECYCLE_EVENT"),
            "AfterInstall": self.note("$APPLICATION_NAME-$DEPLOYMENT_GROUP_NAME-$DEPLOYMENT_GROUP_ID"),
            "ValidateService": self.note("$BUNDLE_BUCKET-$BUNDLE_KEY") + "; echo all is well; echo or not >&2",
        }
        before = None
        for kind in ("zip", "tgz", "tar"):
            with self.subTest(kind):
                revision = self.put(self.revision(hooks, {"site/kind": kind}), kind)
                deployment = self.deployment(revision).run()
                self.assert_succeeded(deployment)
                self.assertEqual(
                    {name: command.was_noop for name, command in deployment.commands.items()},
                    {name: False for name in deployments.IN_PLACE}
                    | {"ApplicationStop": before is None, "ApplicationStart": True},
                )
                self.assertEqual((self.site / "kind").read_text(), kind)
                key = revision["S3Revision"]["Key"]
                stop = [f"stop-{deployment.id}"] if before else []
                rest = ["before-BeforeInstall", f"peers-app-peers-fleet-{self.group}", f"{BUCKET}-{key}"]
                self.assertEqual(self.noted()[-len(stop + rest) :], stop + rest)
                said = deployment.commands["ValidateService"].completion
                self.assertIn("all is well", said.log)
                self.assertIn("or not", said.log)
                self.assertTrue((self.tested.archive(deployment) / "appspec.yml").exists())
                before = deployment
        self.assertEqual(len([line for line in self.noted() if line.startswith("stop-")]), 2)
        for command in before.commands.values():
            self.assertEqual((command.offers, len(command.acknowledgements), len(command.completions)), (1, 1, 1))
        self.assertEqual({v.split("/")[0] for v in self.service.versions}, {"slipway-agent"})

    def test_envelopes_of_every_signer(self):
        curve = trust.self_signed(self.place / "curve", "Curve", "ec")
        bigger = trust.self_signed(self.place / "bigger", "Bigger", "rsa3072")
        curve384 = trust.self_signed(self.place / "curve384", "Curve 384", "ec384")
        leaf = self.authority.signer("Some Leaf")
        first = self.authority.version_one("First Version")
        files = self.revision({"BeforeInstall": self.note("ran")})
        signers = (self.signer, curve, bigger, curve384, leaf, first)
        ran = 0
        for signer, options in itertools.product(signers, ((), ("-noattr",))):
            with self.subTest(signer=signer.certificate.name, options=options):
                seal = lambda spec, s=signer, o=options: envelope.seal(spec, s, *o)  # noqa: E731
                deployment = self.deployment(self.put(files), seal).run(("DownloadBundle", "BeforeInstall"))
                self.assert_succeeded(deployment)
                ran += 1
                self.assertEqual(len(self.noted()), ran)
        sha512 = lambda spec: envelope.seal(spec, self.signer, digest="sha512")  # noqa: E731
        deployment = self.deployment(self.put(files), sha512).run(("DownloadBundle",))
        self.assertEqual(len(deployment.commands["DownloadBundle"].completions), 1)

    def test_bad_envelopes_are_refused(self):
        files = self.revision({"BeforeInstall": self.note("ran")})

        def tampered(spec):
            return envelope.tampered(self.seal(spec), b"peers-fleet", b"peers-fleex")

        def unsigned(spec):
            return {"Format": "TEXT/JSON", "Payload": json.dumps(spec)}

        def sha1(spec):
            return envelope.seal(spec, self.signer, digest="sha1")

        def detached(spec):
            words = ["smime", "-sign", "-binary", "-md", "sha256", "-outform", "PEM", "-signer"]
            words += [self.signer.certificate, "-inkey", self.signer.key]
            pem = trust.openssl(*words, stdin=json.dumps(spec).encode())
            return {"Format": envelope.FORMAT, "Payload": pem.decode()}

        def without_certificate(spec):
            return envelope.seal(spec, self.signer, "-nocerts")

        def cut(spec):
            whole = self.seal(spec)
            return whole | {"Payload": whole["Payload"][:600]}

        def garbage(_):
            return {"Format": envelope.FORMAT, "Payload": "-----BEGIN PKCS7-----\nAAAA\n-----END PKCS7-----\n"}

        def weak(spec):
            return envelope.seal(spec, trust.self_signed(self.place / "weak", "Weak", "rsa1024"))

        def not_json(_):
            return envelope.seal(b"this is no specification", self.signer)

        for seal in (tampered, unsigned, sha1, detached, without_certificate, cut, garbage, weak, not_json):
            with self.subTest(seal.__name__):
                deployment = self.deployment(self.put(files), seal).run(("DownloadBundle", "BeforeInstall"))
                self.assert_failed(deployment, "DownloadBundle")
                self.assertGreater(len(deployment.commands["DownloadBundle"].completion.message), 10)
                self.assertFalse(self.tested.folder(deployment).exists())
        self.assertEqual(self.noted(), [])

    def test_specifications_at_the_edge_of_what_is_allowed(self):
        files = self.revision({"BeforeInstall": self.note("$DEPLOYMENT_ID")})
        revision = self.put(files)
        plain = deployments.new_deployment_id()
        least = {
            "DeploymentId": deployments.new_deployment_id(),
            "DeploymentGroupId": self.group,
            "DeploymentGroupName": "g",
            "ApplicationName": "a",
            "Revision": {"RevisionType": "S3", "S3Revision": dict(revision["S3Revision"])},
        }
        for name in ("Version", "ETag"):
            del least["Revision"]["S3Revision"][name]
        cases = {
            "an ARN for an id": {"DeploymentId": f"arn:aws:codedeploy:us-east-1:123456789012:deployment/{plain}"},
            "unknown members": {"Wave": 3, "Extras": {"a": [1, None]}, "IsRetry": False},
            "no events": {"AllPossibleLifecycleEvents": None},
            "all events": {"AllPossibleLifecycleEvents": [*NINE, "DownloadBundle", "Install"]},
            "another case": {"AgentActionOverrides": {"AgentOverrides": {"FileExistsBehavior": "Overwrite"}}},
            "no overrides": {"AgentActionOverrides": None},
            "a large one": {"Description": "x" * 700_000},
            "text beyond ASCII": {"ApplicationName": "Größe 🚢", "DeploymentGroupName": "naïve"},
        }
        for name, more in cases.items():
            with self.subTest(name):
                deployment = self.deployment(revision, **more).run(("DownloadBundle", "BeforeInstall", "Install"))
                self.assert_succeeded(deployment)
                self.assertEqual(self.noted()[-1], deployment.id)
                self.assertTrue(self.tested.archive(deployment).is_dir())
        with self.subTest("only what is required"):
            deployment = deployments.Deployment(self.service, self.host, least, self.seal)
            self.assert_succeeded(deployment.run(("DownloadBundle", "BeforeInstall", "Install")))

    def test_specifications_that_are_refused(self):
        revision = self.put(self.revision({"BeforeInstall": self.note("ran")}))
        before = sorted(os.listdir(self.tested.root))
        cases = {
            "path in the id": {"DeploymentId": "../evil"},
            "slash in the id": {"DeploymentId": "d-A/B"},
            "hidden id": {"DeploymentId": ".slipway"},
            "own name": {"DeploymentGroupId": "deployment-instructions"},
            "parent as group": {"DeploymentGroupId": ".."},
            "empty id": {"DeploymentId": ""},
            "no application": {"ApplicationName": ""},
            "no group": {"DeploymentGroupId": None},
            "unknown revision type": {"Revision": {"RevisionType": "FTP"}},
            "no bucket": {"Revision": {"RevisionType": "S3", "S3Revision": {"Key": "k", "BundleType": "zip"}}},
            "unknown behaviour": {"AgentActionOverrides": {"AgentOverrides": {"FileExistsBehavior": "MERGE"}}},
            "a directory of the host": {
                "Revision": {
                    "RevisionType": "Local Directory",
                    "LocalRevision": {"Location": "/etc", "BundleType": "directory"},
                }
            },
        }
        for name, more in cases.items():
            with self.subTest(name):
                deployment = self.deployment(revision, **more).run(("DownloadBundle",))
                self.assert_failed(deployment, "DownloadBundle")
        self.assertEqual(self.noted(), [])
        now = set(os.listdir(self.tested.root)) - set(before)
        # The group itself is a good one; everything else has no business there.
        self.assertLessEqual(now, {self.group, "deployment-instructions", "deployment-logs", ".slipway"})
        self.assertFalse((self.tested.root.parent / "evil").exists())

    def test_events_that_the_service_knows_bind_the_appspec(self):
        events = ("DownloadBundle", "BeforeInstall", "Install")
        files = self.revision({"BeforeInstall": "true", "AfterInstall": "true"})
        missing = self.deploy(files, events, AllPossibleLifecycleEvents=["BeforeInstall"])
        self.assert_failed(missing, "DownloadBundle", holds="AfterInstall")
        lacks = self.deploy(files, events, AllPossibleLifecycleEvents=[*NINE, "WarmUp"])
        self.assert_failed(lacks, "DownloadBundle", holds="WarmUp")
        files = self.revision({"WarmUp": self.note("warm")})
        custom = self.deploy(files, (*events, "WarmUp"), AllPossibleLifecycleEvents=[*NINE, "WarmUp"])
        self.assert_succeeded(custom)
        self.assertEqual(self.noted(), ["warm"])

    def test_codes_of_scripts_that_fail(self):
        long = "i=0; while [ $i -lt 400 ]; do echo line $i ünïcode; i=$((i+1)); done; exit 7"
        cases = {
            "AfterInstall": (4, long, ("scripts/AfterInstall.sh", "7")),
            "ApplicationStart": (6, "echo started; sleep 300 &", ()),
            "ValidateService": (3, "echo waiting; sleep 300", ()),
        }
        for event, (code, lines, words) in cases.items():
            with self.subTest(event):
                files = self.revision({event: lines})
                files["appspec.yml"] = files["appspec.yml"].replace("timeout: 20", "timeout: 2")
                deployment = self.deploy(files)
                self.assert_failed(deployment, event, code, words)
                said = deployment.commands[event].completion
                self.assertIn(f"scripts/{event}.sh", said.script)
                self.assertEqual(len(deployment.commands[event].completions), 1)
                if code == 4:
                    self.assertIn("line 399", said.log)
                    self.assertNotIn("line 0 ", said.log)
        files = self.revision({"BeforeInstall": "true"})
        del files["scripts/BeforeInstall.sh"]
        deployment = self.deploy(files)
        failed = next(c for c in deployment.commands.values() if c.completion.code)
        self.assertIn("scripts/BeforeInstall.sh", failed.completion.message)
        # It is the first script that the revision would run, so nothing can make it.
        self.assertEqual((failed.name, failed.completion.code), ("DownloadBundle", 1))

    def test_mistakes_in_the_appspec_come_at_once(self):
        files = self.revision({})
        files["appspec.yml"] = (
            "version: 0.0\nos: linux\nfiles:\n  - source: ../up\n    destination: /tmp/x\n"
            "  - source: site\n    destination: relative\nhooks:\n  AfterInstall:\n    - timeout: 0\n"
        )
        deployment = self.deploy(files)
        failed = next(c for c in deployment.commands.values() if c.completion.code)
        self.assertEqual(failed.completion.code, 5)
        for words in ("appspec.yml", "../up", "relative", "4", "7", "10"):
            self.assertIn(words, failed.completion.message)

    def test_a_file_that_nobody_deployed_stops_the_install(self):
        self.site.mkdir(parents=True)
        (self.site / "index.html").write_text("mine\n")
        files = self.revision({})
        deployment = self.deploy(files)
        self.assert_failed(deployment, "Install", holds=str(self.site / "index.html"))
        self.assertEqual((self.site / "index.html").read_text(), "mine\n")
        over = {"AgentActionOverrides": {"AgentOverrides": {"FileExistsBehavior": "OVERWRITE"}}}
        self.assert_succeeded(self.deploy(files, **over))
        self.assertEqual((self.site / "index.html").read_text(), "served\n")

    def test_unknown_commands_and_foreign_hosts(self):
        revision = self.put(self.revision({"BeforeInstall": self.note("ran")}))
        for name in ("Dance", "UpdateDeploymentAgent", "../etc"):
            with self.subTest(name):
                deployment = self.deployment(revision).run((name,))
                self.assert_failed(deployment, name)
        self.assert_succeeded(self.deployment(revision).run(("DownloadBundle",)))
        for named in ("", "arn:aws:iam::123456789012:user/web", "arn:aws:iam::123456789012:user/web-10", "web-1"):
            with self.subTest(named_host=named):
                deployment = self.deployment(revision)
                self.assert_succeeded(deployment.run(("DownloadBundle",)))
                ran = len(self.noted())
                foreign = deployment.send("BeforeInstall", named_host=named)
                polls = len(self.service.polls[self.host.arn])
                self.service.wait("the offer", lambda c=foreign: c.offers)
                self.service.wait(
                    "a poll after it or a completion",
                    lambda c=foreign, n=polls: c.completions or len(self.service.polls[self.host.arn]) > n + 2,
                )
                self.assertNotIn("Succeeded", [c.status for c in foreign.completions])
                self.assertEqual(len(self.noted()), ran)
                foreign.ended = True

    def test_a_restart_tells_where_its_revision_came_from(self):
        files = self.revision({"AfterInstall": self.note("after")})
        first = self.deploy(files)
        self.assert_succeeded(first)
        again = self.deployment(first.specification["Revision"], ReuseArchiveFromDeploymentId=first.id).run()
        self.assert_succeeded(again)
        message = again.commands["DownloadBundle"].completion.message
        self.assertRegex(message, "BundleSource=(archive-reuse|downloaded)")
        self.assertEqual(self.noted(), ["after", "after"])
        gone = self.deployment(first.specification["Revision"], ReuseArchiveFromDeploymentId="d-NEVERSEEN").run()
        self.assert_succeeded(gone)
        self.assertIn("BundleSource=downloaded", gone.commands["DownloadBundle"].completion.message)


class Reuse(AgainstAgent):
    """A host that uses a revision again where the service asks for it."""

    SETTINGS = {"enable_archive_reuse": True}

    def again(self, first):
        """Deploys a revision again; the message of its DownloadBundle, and the requests for bundles."""
        asked = len(self.s3.requests)
        again = self.deployment(first.specification["Revision"], ReuseArchiveFromDeploymentId=first.id).run()
        self.assert_succeeded(again)
        return again.commands["DownloadBundle"].completion.message, len(self.s3.requests) - asked

    def test_an_intact_revision_is_used_again(self):
        first = self.deploy(self.revision({"AfterInstall": self.note("after")}, {"site/deep/page": "one\n"}))
        self.assert_succeeded(first)
        message, asked = self.again(first)
        self.assertIn("BundleSource=archive-reuse", message)
        self.assertEqual(asked, 0)
        self.assertEqual(self.noted(), ["after", "after"])
        self.assertEqual((self.site / "deep" / "page").read_text(), "one\n")

    def test_a_changed_revision_is_downloaded(self):
        def rewrite(archive):
            page = archive / "site" / "deep" / "page"
            before = page.stat()
            page.write_text("two\n")
            os.utime(page, ns=(before.st_atime_ns, before.st_mtime_ns))

        changes = {
            "rewritten": rewrite,
            "removed": lambda archive: (archive / "site" / "deep" / "page").unlink(),
            "added": lambda archive: (archive / "site" / "more").write_text("x"),
            "mode": lambda archive: (archive / "site" / "deep" / "page").chmod(0o600),
        }
        for name, change in changes.items():
            with self.subTest(name):
                first = self.deploy(self.revision({"AfterInstall": self.note(name)}, {"site/deep/page": "one\n"}))
                self.assert_succeeded(first)
                change(self.tested.archive(first))
                message, asked = self.again(first)
                self.assertIn("BundleSource=downloaded", message)
                self.assertGreater(asked, 0)
                self.assertEqual((self.site / "deep" / "page").read_text(), "one\n")


class AuthPolicy(AgainstAgent):
    """The protocol under its other name, for hosts whose policies allow only that."""

    SETTINGS = {"enable_auth_policy": True}
    PROTOCOL = wire.SECURE

    def test_deployment(self):
        self.assert_succeeded(self.deploy(self.revision({"AfterInstall": self.note("ran")})))
        self.assertEqual(self.noted(), ["ran"])


class EnvironmentIdentity(AgainstAgent):
    """A host whose identity and key are in the environment, as in a container."""

    @classmethod
    def settings(cls):
        return {"on_premises_config_file": cls.place / "none.yml"}

    @classmethod
    def environment(cls):
        return {
            "AWS_HOST_IDENTIFIER": cls.host.arn,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": cls.host.key[0],
            "AWS_SECRET_ACCESS_KEY": cls.host.key[1],
        }

    def test_deployment(self):
        lines = f"{self.note('key-$AWS_ACCESS_KEY_ID-$AWS_SECRET_ACCESS_KEY')}"
        self.assert_succeeded(self.deploy(self.revision({"AfterInstall": lines})))
        self.assertEqual(self.noted(), ["key--"], "the agent's credentials must not reach a script")
