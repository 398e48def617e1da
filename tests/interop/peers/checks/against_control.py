"""What the checks of the tested control service share: the service, an application, and hosts."""

from __future__ import annotations

import json
import re
import threading
import time

from .. import bundles, scenario
from ..agent import Agent
from ..controls import TestedControl

BUCKET = "releases"


NAME = "slipway.test"


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
