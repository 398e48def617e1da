"""The tested agent against a commands service and a bucket that know nothing of it."""

from __future__ import annotations

import hashlib
import itertools
import os
import time
import zlib

from .. import bundles, envelope, listener, service, trust
from ..s3 import S3, failure
from .against_agent import BUCKET, AgainstAgent, base64_digest

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
                    {name: False for name in service.IN_PLACE}
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
            return {"Format": "TEXT/JSON", "Payload": envelope.json.dumps(spec)}

        def sha1(spec):
            return envelope.seal(spec, self.signer, digest="sha1")

        def detached(spec):
            words = ["smime", "-sign", "-binary", "-md", "sha256", "-outform", "PEM", "-signer"]
            words += [self.signer.certificate, "-inkey", self.signer.key]
            pem = trust.openssl(*words, stdin=envelope.json.dumps(spec).encode())
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
        plain = service.new_deployment_id()
        least = {
            "DeploymentId": service.new_deployment_id(),
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
            deployment = service.Deployment(self.service, self.host, least, self.seal)
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
        self.assert_failed(missing, "Install", holds="AfterInstall")
        lacks = self.deploy(files, events, AllPossibleLifecycleEvents=[*NINE, "WarmUp"])
        self.assert_failed(lacks, "Install", holds="WarmUp")
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
        self.assertEqual((failed.name, failed.completion.code), ("BeforeInstall", 1))

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


class Together(AgainstAgent):
    """A service that offers a host more than one command at a time."""

    def setUp(self):
        super().setUp()
        self.service.concurrent = True
        self.gate = self.place / f"gate-{self.group}"

    def waiting(self, word):
        """Lines of a script that waits for the gate."""
        return f"{self.note(word)}; while [ ! -e {self.gate} ]; do sleep 0.05; done; {self.note('end-' + word)}"

    def test_groups_run_beside_each_other(self):
        pairs = []
        for n in range(2):
            files = self.revision({"BeforeInstall": self.waiting(f"group-{n}")})
            deployment = self.deployment(self.put(files), DeploymentGroupId=f"{self.group}-{n}")
            self.assert_succeeded(deployment.run(("DownloadBundle",)))
            pairs.append((deployment, deployment.send("BeforeInstall")))
        self.until("both scripts at once", lambda: set(self.noted()) >= {"group-0", "group-1"})
        self.gate.touch()
        for deployment, command in pairs:
            deployment.await_end(command)
            self.assert_succeeded(deployment)

    def test_a_group_is_serial(self):
        first, second = (
            self.deployment(self.put(self.revision({"BeforeInstall": self.waiting(word)}))) for word in ("one", "two")
        )
        self.assert_succeeded(first.run(("DownloadBundle",)))
        self.assert_succeeded(second.run(("DownloadBundle",)))
        one = first.send("BeforeInstall")
        self.until("the first script", self.noted)
        two = second.send("BeforeInstall")
        self.service.wait("the second offer or its acknowledgement", lambda: two.offers)
        self.gate.touch()
        first.await_end(one)
        second.await_end(two)
        self.assertEqual(self.noted(), ["one", "end-one", "two", "end-two"])

    def test_a_command_offered_again_while_it_runs_is_run_once(self):
        deployment = self.deployment(self.put(self.revision({"BeforeInstall": self.waiting("ran")})))
        self.assert_succeeded(deployment.run(("DownloadBundle",)))
        command = deployment.send("BeforeInstall")
        self.until("the script", self.noted)
        self.service.offer_again(command)
        self.service.wait("the second offer", lambda: command.offers == 2)
        polls = len(self.service.polls[self.host.arn])
        self.service.wait("another poll", lambda: len(self.service.polls[self.host.arn]) > polls)
        self.gate.touch()
        self.service.wait("the completion", lambda: command.completions)
        self.assertEqual({c.status for c in command.completions}, {"Succeeded"})
        self.assertEqual(self.noted(), ["ran", "end-ran"])

    def test_an_agent_that_is_killed_while_a_script_runs(self):
        deployment = self.deployment(self.put(self.revision({"BeforeInstall": self.waiting("ran")})))
        self.assert_succeeded(deployment.run(("DownloadBundle",)))
        command = deployment.send("BeforeInstall")
        self.until("the script", self.noted)
        self.tested.program.kill()
        # Nobody reads the polls that the agent left; what is offered to them is offered to nobody.
        self.service.wait("the end of its polls", lambda: not self.service.held[self.host.arn])
        self.tested.program.start()
        if not self.service.changed_within(lambda: command.completions, 10):
            # The script outlived its agent; then its true result is what counts.
            self.gate.touch()
        deployment.await_end(command)
        said = command.completion
        if said.status == "Succeeded":
            self.assertEqual(self.noted(), ["ran", "end-ran"])
        else:
            self.assertEqual((said.code, self.noted()), (7, ["ran"]))
            self.assertIn("scripts/BeforeInstall.sh", said.message + said.script)
        self.assertEqual(len(command.completions), 1)


class Acknowledgements(AgainstAgent):
    """Every answer to an acknowledgement, from a service that answers polls at once."""

    HOLD = 0.0

    def prepared(self, hooks):
        deployment = self.deployment(self.put(self.revision(hooks)))
        self.assert_succeeded(deployment.run(("DownloadBundle",)))
        return deployment

    def settle(self):
        """Waits until the agent has done all that it had to do: it polls again, twice."""
        polls = len(self.service.polls[self.host.arn])
        self.service.wait("two more polls", lambda: len(self.service.polls[self.host.arn]) > polls + 1)

    def test_answers_to_a_command_with_scripts(self):
        for answer, runs in ((None, True), ("InProgress", True), ("Succeeded", False), ("Failed", False)):
            with self.subTest(answer):
                deployment = self.prepared({"BeforeInstall": self.note(answer)})
                command = deployment.send("BeforeInstall", answer=answer)
                deployment.await_end(command)
                self.settle()
                self.assertEqual([c.status for c in command.completions], ["Succeeded"] if runs else [])
                self.assertEqual(self.noted().count(str(answer)), int(runs))
                self.assertEqual(command.acknowledgements, [False])

    def test_answers_to_a_no_op(self):
        for answer, message in (
            (None, ""),
            ("InProgress", ""),
            ("Succeeded", None),
            ("Failed", "CompletedNoopCommand"),
        ):
            with self.subTest(answer):
                deployment = self.prepared({})
                command = deployment.send("BeforeInstall", answer=answer)
                self.service.wait("the acknowledgement", lambda c=command: c.acknowledgements)
                self.settle()
                self.assertEqual(command.acknowledgements, [True])
                self.assertEqual([c.status for c in command.completions], [] if message is None else ["Succeeded"])
                if message:
                    self.assertEqual(command.completion.message, f"Succeeded: {message}")
                    self.assertEqual(command.completion.code, 0)

    def test_a_command_offered_again_is_answered_again_and_not_run_again(self):
        for lines, status in (("echo once; exit 9", "Failed"), ("echo once", "Succeeded")):
            with self.subTest(status):
                deployment = self.prepared({"BeforeInstall": f"{self.note(status)}; {lines}"})
                command = deployment.send("BeforeInstall")
                deployment.await_end(command)
                self.settle()
                self.assertEqual([c.status for c in command.completions], [status])
                self.service.offer_again(command)
                deployment.await_end(command)
                self.settle()
                self.assertEqual([c.status for c in command.completions], [status, status])
                self.assertEqual(command.completions[0].payload, command.completions[1].payload)
                self.assertEqual(self.noted().count(status), 1)

    def test_polls_keep_their_distance(self):
        self.settle()
        polls = self.service.polls[self.host.arn]
        start = len(polls)
        self.service.wait("five polls", lambda: len(polls) >= start + 5)
        gaps = [after - before for before, after in itertools.pairwise(polls[start:])]
        for gap in gaps:
            self.assertGreater(gap, 0.75, f"wait_between_runs is 1 s, and the gaps are {gaps}")
            self.assertLess(gap, 2.5, f"wait_between_runs is 1 s, and the gaps are {gaps}")


class Weather(AgainstAgent):
    """A service that fails, throttles, loses answers, is away, and comes back."""

    def prepared(self, lines):
        deployment = self.deployment(self.put(self.revision({"BeforeInstall": lines})))
        self.assert_succeeded(deployment.run(("DownloadBundle",)))
        return deployment

    def test_faults_of_every_operation_pass(self):
        for operation in service.REQUESTS:
            for name, faults in {
                "500 thrice": [service.BROKEN] * 3,
                "throttled": [service.THROTTLED],
                "429": [service.TOO_MANY],
                "503 in HTML": [service.UNAVAILABLE],
            }.items():
                with self.subTest(operation=operation, faults=name):
                    deployment = self.prepared(self.note(f"{operation}-{name}"))
                    self.service.fail_next(operation, *faults)
                    if operation == "PollHostCommand":
                        # A poll that is held already would bring the command past them.
                        self.service.wait("the faults", lambda: not self.service.faults["PollHostCommand"], 90)
                    command = deployment.send("BeforeInstall")
                    deployment.await_end(command, 90)
                    self.assertEqual(command.completion.status, "Succeeded", command.completion)
                    self.assertEqual(self.service.faults[operation], [])
                    self.assertEqual(len([n for n in self.noted() if n == f"{operation}-{name}"]), 1)

    def test_lost_answers_do_no_harm(self):
        for operation in ("GetDeploymentSpecification", "PutHostCommandAcknowledgement", "PutHostCommandComplete"):
            with self.subTest(operation):
                deployment = self.prepared(self.note(operation))
                self.service.fail_next(operation, service.LOST)
                command = deployment.send("BeforeInstall")
                wanted = 2 if operation == "PutHostCommandComplete" else 1
                self.service.wait("the completion", lambda c=command, n=wanted: len(c.completions) >= n, 90)
                self.assertEqual({c.payload for c in command.completions}, {command.completion.payload})
                self.assertEqual(command.completion.status, "Succeeded")
                self.assertEqual(self.noted().count(operation), 1)

    def test_client_exceptions_are_final(self):
        for operation in ("GetDeploymentSpecification", "PutHostCommandAcknowledgement"):
            for fault in (service.CLIENT, service.NAMESPACED):
                with self.subTest(operation):
                    deployment = self.prepared(self.note("ran"))
                    self.service.fail_next(operation, fault)
                    command = deployment.send("BeforeInstall")
                    deployment.await_end(command)
                    self.assertEqual((command.completion.status, command.completion.code), ("Failed", 5))
                    self.assertEqual(self.noted(), [])

    def test_completion_that_the_service_cannot_take(self):
        noise = "i=0; while [ $i -lt 99 ]; do echo line $i; i=$((i+1)); done; exit 1"
        deployment = self.prepared(noise)
        self.service.fail_next("PutHostCommandComplete", service.CLIENT)
        command = deployment.send("BeforeInstall")
        deployment.await_end(command)
        self.assertEqual((command.completion.status, command.completion.code), ("Failed", 4))
        self.assertEqual(command.completion.log, "", "the second try is with minimal diagnostics")
        deployment = self.prepared(noise)
        self.service.fail_next("PutHostCommandComplete", service.CLIENT, service.CLIENT)
        lost = deployment.send("BeforeInstall")
        self.service.wait("both refusals", lambda: not self.service.faults["PutHostCommandComplete"])
        lost.ended = True
        self.prepared("true")
        self.assertEqual(lost.completions, [], "a third try after two refusals")

    def test_answers_that_make_no_sense(self):
        deep = b'{"HostCommand":' * 5000 + b"1" + b"}" * 5000
        command = {
            "HostCommandIdentifier": "sense",
            "HostIdentifier": self.host.arn,
            "DeploymentExecutionId": "a/b/c/d",
            "CommandName": "Install",
        }
        answers = [b"", b"[]", b"5", b"null", b"\xff\xfe", b'{"HostCommand": 5}', b'{"HostCommand": {}}', deep]
        answers += [service.json.dumps({"HostCommand": command | {name: None}}).encode() for name in command]
        answers += [service.json.dumps({"HostCommand": command | {name: 7}}).encode() for name in command]
        answers += [service.json.dumps({"HostCommand": command | {"CommandName": "x" * 500_000}}).encode()]
        self.service.fail_next("PollHostCommand", *(listener.Response(200, {}, answer) for answer in answers))
        # Each of them may be followed by a pause, of up to 90 s in the end; what counts is that it goes on.
        self.service.wait("a few of them", lambda: len(self.service.faults["PollHostCommand"]) < len(answers) - 5, 120)
        self.service.faults["PollHostCommand"].clear()
        # Reports for commands that the service never had are all that may have come of it.
        self.service.deviations = [
            d for d in self.service.deviations if "has no command" not in d and "a/b/c/d" not in d
        ]
        for operation, answer in (
            ("GetDeploymentSpecification", b"{}"),
            ("GetDeploymentSpecification", b'{"DeploymentSystem":"CodeDeploy","DeploymentSpecification":null}'),
            ("GetDeploymentSpecification", b"not JSON"),
            ("PutHostCommandAcknowledgement", b'{"CommandStatus":"Perhaps"}'),
            ("PutHostCommandAcknowledgement", b"not JSON"),
        ):
            with self.subTest(operation=operation, answer=answer):
                deployment = self.prepared("true")
                self.service.fail_next(operation, listener.Response(200, {}, answer))
                sent = deployment.send("BeforeInstall")
                deployment.await_end(sent, 90)
                self.assertIn(sent.completion.status, ("Succeeded", "Failed"))

    def test_answers_without_end(self):
        endless = listener.Response(200, {"Content-Type": service.CONTENT_TYPE}, b" " * (100 << 20))
        for operation in ("PollHostCommand", "GetDeploymentSpecification", "PutHostCommandComplete"):
            with self.subTest(operation):
                deployment = self.prepared("true")
                self.service.fail_next(operation, endless)
                command = deployment.send("BeforeInstall")
                deployment.await_end(command, 90)
        self.assertLess(self.tested.peak_memory(), 64 << 20)

    def test_a_service_that_goes_away_and_an_agent_that_is_killed(self):
        gate = self.place / f"gate-{self.group}"
        deployment = self.prepared(f"{self.note('ran')}; while [ ! -e {gate} ]; do sleep 0.05; done")
        command = deployment.send("BeforeInstall")
        self.until("the script to run", self.noted)
        self.service.stop()
        ends = lambda: self.tested.program.text().count('ended command="BeforeInstall"')  # noqa: E731
        before = ends()
        gate.touch()
        self.until("the end of the script", lambda: ends() > before)
        self.tested.program.kill()
        self.service.start()
        self.tested.program.start()
        deployment.await_end(command, 60)
        self.assertEqual((command.completion.status, command.completion.code), ("Succeeded", 0), command.completion)
        self.assertEqual(self.noted(), ["ran"])

    def test_a_poll_that_is_held_brings_work_at_once(self):
        self.service.hold = 15
        self.addCleanup(setattr, self.service, "hold", self.HOLD)
        deployment = self.prepared(self.note("ran"))
        self.service.wait("a poll that is held", lambda: self.service.held[self.host.arn], 5)
        started = time.monotonic()
        command = deployment.send("BeforeInstall")
        deployment.await_end(command)
        self.assertLess(time.monotonic() - started, 3)
        # A daemon that is told to end does not wait for the poll.
        self.assertEqual(self.tested.program.stop(10), 0)
        self.service.hold = 0.0
        # The service has not seen that nobody waits any more, and would give the next command to nobody.
        self.service.wait("the end of the poll", lambda: not self.service.held[self.host.arn], 20)
        self.tested.program.start()
        self.prepared("true")


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
        self.assert_succeeded(self.download(service.s3_revision("far-bucket", "a.zip", "zip")))

    def test_versions_and_odd_keys(self):
        key = "a dir/ü+ö=&?#%41~'(1).zip"
        old = self.bucket.put(key, bundles.pack("zip", self.revision({}, {"which": "old"})))
        self.bucket.put(key, bundles.pack("zip", self.revision({}, {"which": "new"})))
        newest = self.download(service.s3_revision(BUCKET, key, "zip"))
        self.assert_succeeded(newest)
        self.assertEqual((self.tested.archive(newest) / "which").read_text(), "new")
        older = self.download(service.s3_revision(BUCKET, key, "zip", Version=old.version, ETag=old.etag))
        self.assert_succeeded(older)
        self.assertEqual((self.tested.archive(older) / "which").read_text(), "old")
        self.assertIn(old.etag, self.s3.requests[-1].header("if-match") or "")
        missing = self.download(service.s3_revision(BUCKET, key, "zip", Version="none"))
        self.assert_failed(missing, "DownloadBundle", holds=(BUCKET, key, "none"))

    def test_what_cannot_be_had(self):
        missing = self.download(service.s3_revision(BUCKET, "not/there.tgz", "tgz"))
        self.assert_failed(missing, "DownloadBundle", holds=(BUCKET, "not/there.tgz"))
        nowhere = self.download(service.s3_revision("no-such-bucket", "a.zip", "zip"))
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
                self.assert_succeeded(self.download(service.s3_revision(BUCKET, key, "tgz")))
                place = {"ETag": etag, "ChecksumSHA256": hashlib.sha256(body).hexdigest()}
                self.assert_succeeded(self.download(service.s3_revision(BUCKET, key, "tgz", **place)))
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
                deployment = self.download(service.s3_revision(BUCKET, key, "tgz", **place))
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
            "escape": ("zip", bundles.pack("zip", {"../../escape": "x", "appspec.yml": "version: 0.0\nos: linux\n"})),
            "absolute": ("tar", bundles.pack("tar", {f"{self.place}/escape": "x", "appspec.yml": "os: linux\n"})),
        }
        for name, (kind, body) in cases.items():
            with self.subTest(name):
                key = f"{self.group}/{name}"
                self.bucket.put(key, body)
                deployment = self.download(service.s3_revision(BUCKET, key, kind))
                self.assert_failed(deployment, "DownloadBundle")
                self.assertFalse(self.tested.archive(deployment).exists())
        self.assertEqual(list(self.place.rglob("escape")), [])


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


class AuthPolicy(AgainstAgent):
    """The protocol under its other name, for hosts whose policies allow only that."""

    SETTINGS = {"enable_auth_policy": True}
    PROTOCOL = service.SECURE

    def test_deployment(self):
        self.assert_succeeded(self.deploy(self.revision({"AfterInstall": self.note("ran")})))
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
