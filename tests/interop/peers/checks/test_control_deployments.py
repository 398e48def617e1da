"""Deployments by the tested control service, as an operator sees them."""

from __future__ import annotations

import urllib.parse

from .. import deployments, sdk
from .against_control import AgainstControl


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
        self.assertEqual([e["lifecycleEventName"] for e in target["lifecycleEvents"]], list(deployments.IN_PLACE))
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
            self.assertEqual([name for name, _, _ in agent.handled], list(deployments.IN_PLACE) * 3)
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
