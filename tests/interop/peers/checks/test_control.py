"""The tested control service against an agent and an SDK that know nothing of it."""

from __future__ import annotations

import http.client
import json
import re
import ssl
import threading
import time
import urllib.parse

from .. import bundles, envelope, names, scenario, sdk, service, trust
from ..agent import Agent, Refused, ScriptFailed
from ..controls import TestedControl, key_of

BUCKET = "releases"
NAME = "slipway.test"
SLIPWAY = "slipway-agent/9.9.9"
SPECIFICATION = {
    "DeploymentId", "DeploymentGroupId", "DeploymentGroupName", "ApplicationName", "DeploymentCreator",
    "DeploymentType", "AppSpecFilename", "AgentActionOverrides", "Revision",
}  # fmt: skip


class AgainstControl(scenario.Scenario):
    """A control service, an application, and hosts whose agents are not ours."""

    @classmethod
    def setUpClass(cls):
        scenario.program(scenario.CONTROL_VARIABLE)
        super().setUpClass()
        cls.control = TestedControl(cls, "--poll-hold", "1", "--hostname", "127.0.0.1", "--hostname", NAME)
        cls.deploy = cls.control.client("codedeploy")
        cls.s3 = cls.control.client("s3")
        cls.s3.create_bucket(Bucket=BUCKET)
        cls.deploy.create_application(applicationName="site", computePlatform="Server")

    def setUp(self):
        self.control.program.must_run()
        # Each test has a group, hosts and a directory of its own.
        self.name = re.sub("[^a-z]+", "-", self.id().rpartition("test_")[2])[:40]
        self.home = self.place / self.name
        self.group = f"fleet-{self.name}"

    def fleet(self, size, config="CodeDeployDefault.AllAtOnce", **more):
        """Hosts that are tagged for this test's group, and the group."""
        agents = [self.agent(f"{self.name}-{n}", fleet=self.name) for n in range(1, size + 1)]
        self.deploy.create_deployment_group(
            applicationName="site",
            deploymentGroupName=self.group,
            serviceRoleArn="arn:aws:iam::123456789012:role/deploys",
            deploymentConfigName=config,
            onPremisesInstanceTagFilters=[{"Key": "fleet", "Value": self.name, "Type": "KEY_AND_VALUE"}],
            **more,
        )
        return agents

    def agent(self, name, **tags):
        host = self.control.host(name, **tags)
        agent = Agent(self.control.endpoint, host, self.control.ca_file, self.home / name)
        agent.spec_ca = self.control.ca_file
        return agent

    def push(self, hooks, kind="zip"):
        """Puts a revision to the bucket; gives its location."""
        appspec = {
            "version": 0.0,
            "os": "linux",
            "files": [{"source": "/index.html", "destination": str(self.home / "www")}],
            "hooks": {event: [{"location": f"{event}.sh"}] for event in hooks},
        }
        files = {"appspec.yml": json.dumps(appspec), "index.html": "hello\n"}
        files |= {f"{event}.sh": bundles.script(lines) for event, lines in hooks.items()}
        key = f"{self.name}/{time.monotonic_ns()}.{kind}"
        put = self.s3.put_object(Bucket=BUCKET, Key=key, Body=bundles.pack(kind, files))
        return {"bucket": BUCKET, "key": key, "bundleType": kind, "eTag": put["ETag"].strip('"')}

    def create(self, location, **more):
        """Starts a deployment; gives its id."""
        return self.deploy.create_deployment(
            applicationName="site",
            deploymentGroupName=self.group,
            revision={"revisionType": "S3", "s3Location": location},
            **more,
        )["deploymentId"]

    def info(self, deployment):
        return self.deploy.get_deployment(deploymentId=deployment)["deploymentInfo"]

    def ended(self, deployment):
        return self.info(deployment)["status"] in ("Succeeded", "Failed", "Stopped")

    def work(self, agents, deployment, seconds=60):
        """Lets agents work until a deployment has ended; gives what is known of it."""
        errors = []

        def run(agent):
            try:
                agent.work_until(lambda: self.ended(deployment), seconds)
            except Exception as error:  # shown by the assertion below
                errors.append(error)

        workers = [threading.Thread(target=run, args=(agent,)) for agent in agents]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        self.assertEqual(errors, [])
        return self.info(deployment)

    def target(self, deployment, agent):
        """A host's target of a deployment."""
        name = agent.host.arn.rpartition("/")[2]
        got = self.deploy.batch_get_deployment_targets(deploymentId=deployment, targetIds=[name])
        return got["deploymentTargets"][0]["instanceTarget"]

    def events(self, deployment, agent):
        """The states of a target's lifecycle events by name."""
        return {e["lifecycleEventName"]: e["status"] for e in self.target(deployment, agent)["lifecycleEvents"]}

    def offered(self, agent, seconds=10):
        """The next command of an agent."""
        return scenario.until("a command", agent.poll, seconds)


class Deployments(AgainstControl):
    """Deployments as an operator sees them."""

    def test_deployment_and_all_that_can_be_read_of_it(self):
        agents = self.fleet(2)
        self.assertLess(agents[0].greet(), 500)
        for kind in ("zip", "tgz", "tar"):
            with self.subTest(kind):
                location = self.push({"BeforeInstall": "echo before", "ValidateService": "echo fine"}, kind)
                deployment = self.create(location, description="a try")
                info = self.work(agents, deployment)
                self.assertEqual(info["status"], "Succeeded", info.get("errorInformation"))
        self.assertRegex(deployment, r"^d-[A-Z0-9]{9}$")
        self.assertEqual(
            (info["creator"], info["description"], info["deploymentConfigName"], info["computePlatform"]),
            ("user", "a try", "CodeDeployDefault.AllAtOnce", "Server"),
        )
        self.assertEqual(info["revision"]["s3Location"]["key"], location["key"])
        self.assertLessEqual(info["createTime"], info["completeTime"])
        overview = info["deploymentOverview"]
        self.assertEqual((overview["Succeeded"], sum(overview.values())), (2, 2))
        self.assertNotIn("errorInformation", info)
        self.deploy.get_waiter("deployment_successful").wait(
            deploymentId=deployment, WaiterConfig={"Delay": 1, "MaxAttempts": 2}
        )
        self.assertEqual((self.home / "www" / "index.html").read_text(), "hello\n")

        names_of = sorted(agent.host.arn.rpartition("/")[2] for agent in agents)
        self.assertEqual(sorted(self.deploy.list_deployment_targets(deploymentId=deployment)["targetIds"]), names_of)
        self.assertEqual(
            sorted(self.deploy.list_deployment_instances(deploymentId=deployment)["instancesList"]), names_of
        )
        self.assertEqual(
            self.deploy.list_deployment_instances(deploymentId=deployment, instanceStatusFilter=["Failed"])[
                "instancesList"
            ],
            [],
        )
        target = self.target(deployment, agents[0])
        self.assertEqual((target["status"], target["targetId"]), ("Succeeded", names_of[0]))
        self.assertIn(f"instance/{names_of[0]}_", target["targetArn"])
        self.assertEqual([e["lifecycleEventName"] for e in target["lifecycleEvents"]], list(service.IN_PLACE))
        self.assertEqual({e["status"] for e in target["lifecycleEvents"]}, {"Succeeded"})
        for event in target["lifecycleEvents"]:
            self.assertLessEqual(event["startTime"], event["endTime"])
        for name in names_of:
            summary = self.deploy.get_deployment_instance(deploymentId=deployment, instanceId=name)["instanceSummary"]
            self.assertEqual(summary["status"], "Succeeded")
            self.assertEqual(len(summary["lifecycleEvents"]), 7)
        one = self.deploy.get_deployment_target(deploymentId=deployment, targetId=names_of[1])["deploymentTarget"]
        self.assertEqual(
            (one["deploymentTargetType"], one["instanceTarget"]["status"]), ("InstanceTarget", "Succeeded")
        )
        listed = self.deploy.list_deployments(
            applicationName="site", deploymentGroupName=self.group, includeOnlyStatuses=["Succeeded"]
        )["deployments"]
        self.assertEqual((listed[0], len(listed)), (deployment, 3))
        group = self.deploy.get_deployment_group(applicationName="site", deploymentGroupName=self.group)
        self.assertEqual(group["deploymentGroupInfo"]["lastSuccessfulDeployment"]["deploymentId"], deployment)

        # What the agents were told: one command at a time, in order, no-ops settled by their acknowledgement.
        for agent in agents:
            self.assertEqual([name for name, _, _ in agent.handled], list(service.IN_PLACE) * 3)
            for name, noop, answer in agent.handled:
                with self.subTest(name):
                    self.assertEqual(answer, "Succeeded" if noop else "InProgress")
            self.assertEqual(
                agent.run_scripts,
                [("BeforeInstall", "BeforeInstall.sh"), ("ValidateService", "ValidateService.sh")] * 3,
            )

    def test_failing_script(self):
        agent, *_ = self.fleet(1, autoRollbackConfiguration={"enabled": True, "events": ["DEPLOYMENT_FAILURE"]})
        good = self.create(self.push({"ApplicationStop": "echo stopping", "ValidateService": "true"}))
        self.assertEqual(self.work([agent], good)["status"], "Succeeded")
        bad = self.create(self.push({"ValidateService": "echo the page is empty >&2; exit 12"}))
        info = self.work([agent], bad)
        self.assertEqual(info["status"], "Failed")
        self.assertEqual(info["errorInformation"]["code"], "HEALTH_CONSTRAINTS")
        message = info["errorInformation"]["message"]
        self.assertIn("too many individual instances failed deployment", message)
        for words in (agent.host.arn.rpartition("/")[2], "ValidateService", "the page is empty"):
            self.assertIn(words, message)
        with self.assertRaises(sdk.exceptions.WaiterError):
            self.deploy.get_waiter("deployment_successful").wait(
                deploymentId=bad, WaiterConfig={"Delay": 1, "MaxAttempts": 2}
            )
        target = self.target(bad, agent)
        self.assertEqual(target["status"], "Failed")
        failed = target["lifecycleEvents"][-1]
        # The first of this agent's two completions counts: the one with the log.
        self.assertEqual((failed["lifecycleEventName"], failed["status"]), ("ValidateService", "Failed"))
        said = failed["diagnostics"]
        self.assertEqual((said["errorCode"], said["scriptName"]), ("ScriptFailed", "ValidateService.sh"))
        self.assertIn("the page is empty", said["logTail"])
        self.assertIn("exit code 12", said["message"])

        rollback = self.until(
            "the rollback", lambda: self.info(bad).get("rollbackInfo", {}).get("rollbackDeploymentId")
        )
        info = self.work([agent], rollback)
        self.assertEqual((info["status"], info["creator"]), ("Succeeded", "codeDeployRollback"))
        self.assertEqual(info["rollbackInfo"]["rollbackTriggeringDeploymentId"], bad)
        self.assertEqual(
            info["rollbackInfo"]["rollbackMessage"],
            f"Deployment {rollback} is triggered to roll back deployment {bad}.",
        )
        self.assertEqual(info["revision"], self.info(good)["revision"])
        self.assertEqual(agent.run_scripts[-1], ("ValidateService", "ValidateService.sh"))
        self.assertEqual(self.events(rollback, agent)["ValidateService"], "Succeeded")

    def test_failure_in_the_middle_skips_the_rest(self):
        agent, *_ = self.fleet(1)
        deployment = self.create(self.push({"AfterInstall": "exit 1", "ValidateService": "true"}))
        self.assertEqual(self.work([agent], deployment)["status"], "Failed")
        events = self.events(deployment, agent)
        self.assertEqual(events["AfterInstall"], "Failed")
        self.assertEqual({events["ApplicationStart"], events["ValidateService"]}, {"Skipped"})
        self.assertEqual(agent.handled[-1][0], "AfterInstall")
        self.assertIsNone(agent.poll())

    def test_one_at_a_time_stops_at_the_first_failure(self):
        agents = self.fleet(3, "CodeDeployDefault.OneAtATime")
        deployment = self.create(self.push({"BeforeInstall": "exit 1"}))
        info = self.work(agents, deployment)
        self.assertEqual(info["status"], "Failed")
        overview = info["deploymentOverview"]
        self.assertEqual((overview["Failed"], overview["Skipped"], overview["Succeeded"]), (1, 2, 0))

    def test_all_at_once_succeeds_when_one_host_does(self):
        agents = self.fleet(2)
        mark = agents[0].host.arn.rpartition("/")[2]
        # Both agents run on this machine, so the script tells them apart by the directory that it runs from.
        deployment = self.create(self.push({"BeforeInstall": f'case "$0" in */{mark}/*) exit 1;; esac'}))
        info = self.work(agents, deployment)
        self.assertEqual(info["status"], "Succeeded", info)
        overview = info["deploymentOverview"]
        self.assertEqual((overview["Failed"], overview["Succeeded"]), (1, 1))

    def test_stop(self):
        agent, *_ = self.fleet(1)
        deployment = self.create(self.push({"BeforeInstall": "true"}))
        first = self.offered(agent)
        self.assertEqual(first["CommandName"], "ApplicationStop")
        stopped = self.deploy.stop_deployment(deploymentId=deployment)
        self.assertIn(stopped["status"], ("Pending", "Succeeded"))
        # The command was offered and is not acknowledged yet: now it never shall be run.
        self.assertEqual(agent.acknowledge(first, noop=False), "Failed")
        self.until("the end", lambda: self.ended(deployment))
        self.assertEqual(self.info(deployment)["status"], "Stopped")
        self.assertIsNone(agent.poll())
        with self.assertRaises(self.deploy.exceptions.DeploymentAlreadyCompletedException):
            self.deploy.stop_deployment(deploymentId=deployment)

    def test_stop_lets_the_running_event_end(self):
        agent, *_ = self.fleet(1)
        deployment = self.create(self.push({}))
        command = self.offered(agent)
        self.assertEqual(agent.acknowledge(command, noop=False), "InProgress")
        self.deploy.stop_deployment(deploymentId=deployment)
        agent.complete(command, "Succeeded")
        self.until("the end", lambda: self.ended(deployment))
        self.assertEqual(self.info(deployment)["status"], "Stopped")
        self.assertEqual(self.events(deployment, agent)["ApplicationStop"], "Succeeded")
        self.assertIsNone(agent.poll())

    def test_no_hosts(self):
        self.fleet(0)
        deployment = self.create(self.push({}))
        self.until("the end", lambda: self.ended(deployment))
        info = self.info(deployment)
        self.assertEqual((info["status"], info["errorInformation"]["code"]), ("Failed", "NO_INSTANCES"))

    def test_second_deployment_while_one_runs(self):
        agent, *_ = self.fleet(1)
        location = self.push({})
        first = self.create(location)
        with self.assertRaises(self.deploy.exceptions.DeploymentLimitExceededException):
            self.create(location)
        self.assertEqual(self.work([agent], first)["status"], "Succeeded")

    def test_a_service_that_is_killed_loses_nothing(self):
        agent, *_ = self.fleet(1)
        deployment = self.create(self.push({"BeforeInstall": "true"}))
        agent.work_until(lambda: [name for name, _, _ in agent.handled][-1:] == ["DownloadBundle"])
        command = self.offered(agent)
        self.assertEqual(agent.acknowledge(command, noop=False), "InProgress")
        port = urllib.parse.urlsplit(self.control.endpoint).port
        self.control.program.kill()
        self.control.program.command = [
            f"127.0.0.1:{port}" if word == "127.0.0.1:0" else word for word in self.control.program.command
        ]
        (self.control.data / "endpoint").unlink()
        self.control.program.start()
        self.assertEqual(self.control.await_endpoint(), self.control.endpoint)
        agent.complete(command, "Succeeded", log="ran while nobody was there")
        info = self.work([agent], deployment)
        self.assertEqual(info["status"], "Succeeded")
        self.assertNotIn("BeforeInstall", [name for name, _, _ in agent.handled])


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
        other = service.Protocol(service.PLAIN.prefix, "codedeploy")
        with self.assertRaises(Refused) as refused:
            agent.call("PollHostCommand", poll, protocol=other)
        self.assertEqual(refused.exception.status, 403)
        agent.region = "eu-central-1"
        self.assertIsNone(agent.poll(), "any region is good in a host's signature")

    def test_the_protocol_under_its_other_name(self):
        agent, *_ = self.fleet(1)
        agent.protocol = service.SECURE
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


class Bucket(AgainstControl):
    """The embedded S3, by AWS's SDK."""

    def test_a_host_reads_its_bundle_by_path_and_by_name(self):
        agent, *_ = self.fleet(1)
        location = self.push({"BeforeInstall": "true"})
        deployment = self.create(location)
        agent.work_until(lambda: agent.handled[-1:] and agent.handled[-1][0] == "DownloadBundle")
        asked = {"Bucket": BUCKET, "Key": location["key"]}
        by_path = self.control.client("s3", agent.host.key).get_object(**asked)
        port = urllib.parse.urlsplit(self.control.endpoint).port
        with names.local(NAME):
            by_name = sdk.client(
                "s3", f"https://{NAME}:{port}", agent.host.key, self.control.ca_file, addressing="virtual"
            ).get_object(**asked)
        self.assertEqual(by_path["Body"].read(), by_name["Body"].read())
        self.assertEqual(by_path["ETag"].strip('"'), location["eTag"])
        self.assertEqual(self.work([agent], deployment)["status"], "Succeeded")

    def test_a_host_may_read_nothing_else_and_write_nothing(self):
        agent, other = self.fleet(1)[0], self.agent(f"{self.name}-other")
        location = self.push({})
        foreign = self.push({})
        self.create(location)
        scenario.until("a command", agent.poll)
        s3 = self.control.client("s3", agent.host.key)
        mine = {"Bucket": BUCKET, "Key": location["key"]}
        self.assertTrue(s3.get_object(**mine)["Body"].read())
        cases = {
            "another object": lambda: s3.get_object(Bucket=BUCKET, Key=foreign["key"]),
            "another host": lambda: self.control.client("s3", other.host.key).get_object(**mine),
            "put": lambda: s3.put_object(**mine, Body=b"evil"),
            "put elsewhere": lambda: s3.put_object(Bucket=BUCKET, Key="new", Body=b"evil"),
            "delete": lambda: s3.delete_object(**mine),
            "upload": lambda: s3.create_multipart_upload(**mine),
            "copy": lambda: s3.copy_object(Bucket=BUCKET, Key="copy", CopySource=mine),
            "list": lambda: s3.list_objects_v2(Bucket=BUCKET),
            "make": lambda: s3.create_bucket(Bucket="hosts-own"),
        }
        for name, attempt in cases.items():
            with self.subTest(name), self.assertRaises(sdk.exceptions.ClientError) as refused:
                attempt()
            self.assertEqual(refused.exception.response["ResponseMetadata"]["HTTPStatusCode"], 403)
        self.assertEqual(self.s3.get_object(**mine)["ETag"].strip('"'), location["eTag"])

    def test_a_key_that_was_revoked(self):
        made = key_of(json.loads(self.control.command("keys", "create", "--administrator", "guest", "--json")))
        guest = self.control.client("codedeploy", made)
        self.assertIn("site", guest.list_applications()["applications"])
        self.control.command("keys", "revoke", made[0])
        with self.assertRaises(sdk.exceptions.ClientError) as refused:
            guest.list_applications()
        self.assertEqual(refused.exception.response["ResponseMetadata"]["HTTPStatusCode"], 403)

    def test_errors_have_their_models_names(self):
        errors = self.deploy.exceptions
        cases = (
            (errors.ApplicationDoesNotExistException, "get_application", {"applicationName": "none"}),
            (errors.InvalidApplicationNameException, "get_application", {"applicationName": "no/name"}),
            (errors.ApplicationAlreadyExistsException, "create_application", {"applicationName": "site"}),
            (errors.DeploymentDoesNotExistException, "get_deployment", {"deploymentId": "d-ABCDEF123"}),
            (errors.InvalidDeploymentIdException, "get_deployment", {"deploymentId": "x"}),
            (
                errors.DeploymentGroupDoesNotExistException,
                "get_deployment_group",
                {"applicationName": "site", "deploymentGroupName": "none"},
            ),
            (errors.InstanceNotRegisteredException, "get_on_premises_instance", {"instanceName": "none"}),
            (
                errors.DeploymentConfigDoesNotExistException,
                "get_deployment_config",
                {"deploymentConfigName": "none"},
            ),
            (errors.InvalidNextTokenException, "list_applications", {"nextToken": "none"}),
        )
        for kind, operation, arguments in cases:
            with self.subTest(operation=operation, arguments=arguments), self.assertRaises(kind):
                getattr(self.deploy, operation)(**arguments)
