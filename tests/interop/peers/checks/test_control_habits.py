"""The tested control service, and habits of agents that are not ours."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
import urllib.parse

from .. import envelope, names, sdk, trust, wire
from ..agent import Refused, ScriptFailed
from .against_control import BUCKET, NAME, AgainstControl

SLIPWAY = "slipway-agent/9.9.9"


SPECIFICATION = {
    "DeploymentId", "DeploymentGroupId", "DeploymentGroupName", "ApplicationName", "DeploymentCreator",
    "DeploymentType", "AppSpecFilename", "AgentActionOverrides", "Revision", "SlipwayBinding",
}  # fmt: skip


class Habits(AgainstControl):
    """Habits of agents that are not ours, and of those that mean no good."""

    def test_an_offer_is_not_repeated_before_its_lease_ends(self):
        agent, *_ = self.fleet(1)
        self.create(self.push({}))
        first = self.offered(agent)
        offered = time.monotonic()
        for _ in range(3):
            self.assertIsNone(agent.poll())
        again = self.offered(agent, 60)
        self.assertGreater(time.monotonic() - offered, 29)
        self.assertEqual(again["HostCommandIdentifier"], first["HostCommandIdentifier"])
        self.assertEqual(agent.acknowledge(again, noop=True), "Succeeded")

    def test_a_poll_is_held_until_there_is_work(self):
        agent, *_ = self.fleet(1)
        location = self.push({})
        started = time.monotonic()
        self.assertIsNone(agent.poll())
        self.assertGreater(time.monotonic() - started, 0.7, "--poll-hold is 1 s")
        got = []
        # A poll that began before the deployment brings its first command.
        poller = threading.Thread(target=lambda: got.append(agent.poll()))
        poller.start()
        time.sleep(0.2)
        self.create(location)
        poller.join()
        self.assertEqual(got[0]["CommandName"], "ApplicationStop")

    def test_a_poll_that_nobody_waits_for_takes_no_command(self):
        agent, *_ = self.fleet(1)
        location = self.push({})
        for _ in range(5):
            gone = agent.connect()
            body = json.dumps({"HostIdentifier": agent.host.arn}).encode()
            agent.request(gone, "PollHostCommand", body)
            time.sleep(0.05)
            # As when the host's power is cut: no answer is read, and the connection is no more.
            gone.sock.close()
            gone.close()
        self.create(location)
        # Within the first poll, and not after the lease of an offer that nobody heard.
        self.assertEqual(self.offered(agent, 5)["CommandName"], "ApplicationStop")

    def test_command_and_specification_have_the_protocol_s_shape(self):
        agent, *_ = self.fleet(1)
        location = self.push({})
        deployment = self.create(location)
        command = self.offered(agent)
        self.assertEqual(command["HostIdentifier"], agent.host.arn)
        self.assertRegex(command["DeploymentExecutionId"], r"^[^/]+/[^/]+/[^/]+/.+$")
        self.assertLessEqual(len(command["DeploymentExecutionId"]), 129)
        self.assertIsInstance(command["HostCommandIdentifier"], str)
        if command.get("Nonce") is not None:
            self.assertIsInstance(command["Nonce"], int)
        self.assertLessEqual(
            set(command), {"HostCommandIdentifier", "HostIdentifier", "DeploymentExecutionId", "CommandName", "Nonce"}
        )
        answer = agent.call(
            "GetDeploymentSpecification",
            {"DeploymentExecutionId": command["DeploymentExecutionId"], "HostIdentifier": agent.host.arn},
        )
        self.assertEqual(answer["DeploymentSystem"], "CodeDeploy")
        sealed = answer["DeploymentSpecification"]["GenericEnvelope"]
        lines = sealed["Payload"].splitlines()
        self.assertEqual((sealed["Format"], lines[0], lines[-1]), (
            "PKCS7/JSON", "-----BEGIN PKCS7-----", "-----END PKCS7-----"))  # fmt: skip
        self.assertEqual({len(line) for line in lines[1:-2]}, {64})
        content = envelope.open_envelope(sealed, self.control.ca_file)
        self.assertEqual(content, envelope.open_envelope(sealed))
        spec = json.loads(content)
        self.assertEqual(spec["DeploymentId"], deployment)
        self.assertRegex(spec["DeploymentGroupId"], r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
        self.assertEqual((spec["DeploymentGroupName"], spec["ApplicationName"]), (self.group, "site"))
        self.assertEqual((spec["DeploymentCreator"], spec["DeploymentType"]), ("user", "IN_PLACE"))
        self.assertEqual(spec["AgentActionOverrides"]["AgentOverrides"]["FileExistsBehavior"], "DISALLOW")
        self.assertLessEqual(set(spec), SPECIFICATION, "agent 1.8.1 fails on AllPossibleLifecycleEvents")
        self.assertEqual(spec["Revision"]["RevisionType"], "S3")
        place = spec["Revision"]["S3Revision"]
        self.assertEqual((place["Bucket"], place["Key"], place["BundleType"]), (BUCKET, location["key"], "zip"))
        self.assertEqual(place["ETag"], location["eTag"])

        # The certificate of the signer is inside, RSA of 2048 bits or better; the digest is SHA-256.
        pem = sealed["Payload"].encode()
        certificate = trust.openssl("pkcs7", "-inform", "PEM", "-print_certs", stdin=pem)
        self.assertRegex(
            trust.openssl("x509", "-noout", "-text", stdin=certificate).decode(), r"Public-Key: \((2048|3072|4096) bit"
        )
        printed = trust.openssl("pkcs7", "-inform", "PEM", "-print", "-noout", stdin=pem).decode()
        self.assertIn("sha256 (2.16.840.1.101.3.4.2.1)", printed)
        other = trust.Authority(self.home / "other")
        with self.assertRaises(envelope.BadEnvelope):
            envelope.open_envelope(sealed, other.certificate)
        with self.assertRaises(envelope.BadEnvelope):
            envelope.open_envelope(envelope.tampered(sealed, b'"IN_PLACE"', b'"IN_PLACF"'), None)

    def test_completion_without_acknowledgement_and_after_the_end(self):
        agent, *_ = self.fleet(1)
        deployment = self.create(self.push({}))
        command = self.offered(agent)
        agent.complete(command, "Succeeded", log="no acknowledgement was sent")
        agent.complete(command, "Failed", 7, "", "a second result changes nothing")
        self.assertEqual(self.events(deployment, agent)["ApplicationStop"], "Succeeded")
        self.assertEqual(self.work([agent], deployment)["status"], "Succeeded")
        agent.complete(command, "Failed", 7, "", "an old command, after a restart")
        self.assertEqual(self.info(deployment)["status"], "Succeeded")

    def test_acknowledging_twice(self):
        agent, *_ = self.fleet(1)
        deployment = self.create(self.push({}))
        command = self.offered(agent)
        self.assertEqual(agent.acknowledge(command, noop=True), "Succeeded")
        self.assertEqual(agent.acknowledge(command, noop=True), "Succeeded")
        self.assertEqual(self.events(deployment, agent)["ApplicationStop"], "Succeeded")
        command = self.offered(agent)
        self.assertEqual(agent.acknowledge(command, noop=False), "InProgress")
        self.assertEqual(agent.acknowledge(command, noop=False), "InProgress")

    def test_diagnostics_of_any_shape(self):
        agent, *_ = self.fleet(1)
        codes = {
            1: "ScriptMissing", 2: "ScriptNotExecutable", 3: "ScriptTimedOut", 4: "ScriptFailed",
            5: "UnknownError", 6: "UnknownError", 7: "UnknownError", 99: "UnknownError",
        }  # fmt: skip
        for code, name in codes.items():
            with self.subTest(code):
                deployment = self.create(self.push({}))
                agent.complete(self.offered(agent), "Failed", code, "x.sh", "went wrong", "out\n")
                self.until("the end", lambda d=deployment: self.ended(d))
                said = self.target(deployment, agent)["lifecycleEvents"][0]["diagnostics"]
                self.assertEqual((said["errorCode"], said["scriptName"], said["logTail"]), (name, "x.sh", "out\n"))
        for payload in ("not JSON", "null", "[]", '{"error_code": "four"}', "{}"):
            with self.subTest(payload):
                deployment = self.create(self.push({}))
                body = {
                    "HostCommandIdentifier": self.offered(agent)["HostCommandIdentifier"],
                    "CommandStatus": "Failed",
                }
                agent.call("PutHostCommandComplete", body | {"Diagnostics": {"Format": "JSON", "Payload": payload}})
                self.until("the end", lambda d=deployment: self.ended(d))
                self.assertEqual(self.events(deployment, agent)["ApplicationStop"], "Failed")
        with self.subTest("none"):
            deployment = self.create(self.push({}))
            body = {"HostCommandIdentifier": self.offered(agent)["HostCommandIdentifier"], "CommandStatus": "Failed"}
            agent.call("PutHostCommandComplete", body)
            self.until("the end", lambda: self.ended(deployment))

    def test_requests_that_make_no_sense(self):
        agent, *_ = self.fleet(1)
        deployment = self.create(self.push({}))
        command = self.offered(agent)
        about = {"HostCommandIdentifier": command["HostCommandIdentifier"]}
        noop = {"Format": "JSON", "Payload": '{"IsCommandNoop": true}'}
        cases = (
            ("PollHostCommand", {}),
            ("PollHostCommand", {"HostIdentifier": 5}),
            ("GetDeploymentSpecification", {"DeploymentExecutionId": "a/b/c/d", "HostIdentifier": agent.host.arn}),
            ("GetDeploymentSpecification", {"DeploymentExecutionId": "../x", "HostIdentifier": agent.host.arn}),
            ("PutHostCommandAcknowledgement", {"HostCommandIdentifier": "nobody's", "Diagnostics": noop}),
            ("PutHostCommandComplete", {"HostCommandIdentifier": "nobody's", "CommandStatus": "Succeeded"}),
            ("PutHostCommandComplete", about | {"CommandStatus": "Excellent"}),
        )
        for operation, body in cases:
            with self.subTest(operation=operation, body=body):
                with self.assertRaises(Refused) as refused:
                    agent.call(operation, body)
                self.assertEqual((refused.exception.status, refused.exception.kind), (400, "ClientException"))
                self.assertTrue(refused.exception.message)
        with self.assertRaises(Refused) as refused:
            agent.call("DeleteEverything", {})
        self.assertEqual(refused.exception.status, 404)
        self.assertEqual(self.events(deployment, agent)["ApplicationStop"], "Pending")

    def test_a_host_sees_only_what_is_its_own(self):
        first, second = self.fleet(2)
        deployment = self.create(self.push({}))
        mine = self.offered(first)
        stranger = self.agent(f"{self.name}-stranger")
        body = {"DeploymentExecutionId": mine["DeploymentExecutionId"]}
        for other in (second, stranger):
            name = other.host.arn
            noop = {"Format": "JSON", "Payload": '{"IsCommandNoop": true}'}
            about = {"HostCommandIdentifier": mine["HostCommandIdentifier"]}
            for operation, asked in (
                ("PollHostCommand", {"HostIdentifier": first.host.arn}),
                ("GetDeploymentSpecification", body | {"HostIdentifier": first.host.arn}),
                ("GetDeploymentSpecification", body | {"HostIdentifier": name}),
                ("PutHostCommandAcknowledgement", about | {"Diagnostics": noop}),
                ("PutHostCommandComplete", about | {"CommandStatus": "Failed"}),
            ):
                # The second host is in this deployment too: its own specification it may read.
                if other is second and asked == body | {"HostIdentifier": name}:
                    other.call(operation, asked)
                    continue
                with self.subTest(operation=operation, host=name, asked=asked):
                    with self.assertRaises(Refused) as refused:
                        other.call(operation, asked)
                    self.assertIn(refused.exception.status, (400, 403))
        self.assertEqual(self.events(deployment, first)["ApplicationStop"], "Pending")
        self.assertEqual(self.work([first, second], deployment)["status"], "Succeeded")
        # A host's key is no operator's, and an operator's key is no host's.
        with self.assertRaises(sdk.exceptions.ClientError):
            self.control.client("codedeploy", first.host.key).list_applications()
        with self.assertRaises(Refused):
            first.call("PollHostCommand", {"HostIdentifier": first.host.arn}, key=self.control.administrator)

    def test_signatures(self):
        agent, *_ = self.fleet(1)
        poll = {"HostIdentifier": agent.host.arn}
        for name, more in {
            "wrong secret": {"key": (agent.host.key[0], "wrong")},
            "unknown key": {"key": ("AKIANOBODY", "wrong")},
            "none": {"unsigned": True},
        }.items():
            with self.subTest(name), self.assertRaises(Refused) as refused:
                agent.call("PollHostCommand", poll, **more)
            self.assertEqual(refused.exception.status, 403)
            self.assertRegex(refused.exception.kind, "Exception$")
        other = wire.Protocol(wire.PLAIN.prefix, "codedeploy")
        with self.assertRaises(Refused) as refused:
            agent.call("PollHostCommand", poll, protocol=other)
        self.assertEqual(refused.exception.status, 403)
        agent.region = "eu-central-1"
        self.assertIsNone(agent.poll(), "any region is good in a host's signature")

    def test_the_protocol_under_its_other_name(self):
        agent, *_ = self.fleet(1)
        agent.protocol = wire.SECURE
        deployment = self.create(self.push({"BeforeInstall": "true"}))
        self.assertEqual(self.work([agent], deployment)["status"], "Succeeded")

    def test_one_command_at_a_time_for_one_host(self):
        agent, *_ = self.fleet(1)
        self.deploy.create_deployment_group(
            applicationName="site",
            deploymentGroupName=f"{self.group}-too",
            serviceRoleArn="arn:aws:iam::123456789012:role/deploys",
            deploymentConfigName="CodeDeployDefault.AllAtOnce",
            onPremisesInstanceTagFilters=[{"Key": "fleet", "Value": self.name, "Type": "KEY_AND_VALUE"}],
        )
        location = self.push({})
        first = self.create(location)
        second = self.deploy.create_deployment(
            applicationName="site",
            deploymentGroupName=f"{self.group}-too",
            revision={"revisionType": "S3", "s3Location": location},
        )["deploymentId"]
        one = self.offered(agent)
        self.assertIsNone(agent.poll(), "an agent that is not Slipway gets one command, whatever the group")
        # An agent that says it is Slipway gets one for each group.
        agent.version = SLIPWAY
        two = self.offered(agent)
        self.assertNotEqual(one["DeploymentExecutionId"], two["DeploymentExecutionId"])
        self.assertIsNone(agent.poll())
        agent.complete(one, "Succeeded")
        agent.complete(two, "Succeeded")
        self.work([agent], first)
        self.assertEqual(self.work([agent], second)["status"], "Succeeded")

    def test_scripts_that_stay_away(self):
        agent, *_ = self.fleet(1)
        files = {"BeforeInstall": "true"}
        location = self.push(files)
        original = agent.run_hooks

        def missing(event, spec):
            if event == "BeforeInstall":
                raise ScriptFailed(1, "BeforeInstall.sh", "Script does not exist")
            return original(event, spec)

        agent.run_hooks = missing
        deployment = self.create(location)
        self.assertEqual(self.work([agent], deployment)["status"], "Failed")
        event = next(e for e in self.target(deployment, agent)["lifecycleEvents"] if e["status"] == "Failed")
        self.assertEqual(
            (event["lifecycleEventName"], event["diagnostics"]["errorCode"]), ("BeforeInstall", "ScriptMissing")
        )

    def test_progress_is_taken(self):
        agent, *_ = self.fleet(1)
        self.create(self.push({}))
        command = self.offered(agent)
        agent.acknowledge(command, noop=False)
        answer = agent.call(
            "PostHostCommandUpdate",
            {
                "HostCommandIdentifier": command["HostCommandIdentifier"],
                "EstimatedCompletionTime": time.time() + 60,
                "Diagnostics": {"Format": "JSON", "Payload": "{}"},
            },
        )
        self.assertEqual(answer["CommandStatus"], "InProgress")

    def test_a_certificate_that_agents_accept(self):
        address = urllib.parse.urlsplit(self.control.endpoint)
        context = ssl.create_default_context(cafile=str(self.control.ca_file))
        # AWS's agents offer no HTTP/2, some of them nothing newer than TLS 1.2.
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        for name in ("127.0.0.1", "localhost", NAME):
            with self.subTest(name), names.local(NAME):
                connection = http.client.HTTPSConnection(name, address.port, timeout=10, context=context)
                connection.request("GET", "/")
                self.assertLess(connection.getresponse().status, 500)
                connection.close()
