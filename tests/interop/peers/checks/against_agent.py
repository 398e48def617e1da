"""What the checks of the tested agent share: a service, a bucket, one host, and ways to deploy to it."""

from __future__ import annotations

import base64
import uuid

from .. import bundles, deployments, envelope, scenario, service, trust, wire
from ..hosts import TestedHost
from ..s3 import S3

BUCKET = "peers-bucket"
APPSPEC = """\
version: 0.0
os: linux
files:
  - source: /site
    destination: {site}
hooks:
"""


class AgainstAgent(scenario.Scenario):
    """A service of AWS's kind, and the agent that is tested, one for all tests of a class."""

    # Settings of the agent beyond the ones that every host has.
    SETTINGS = {}
    PROTOCOL = wire.PLAIN
    ENVIRONMENT = {}
    # Seconds for which the service holds a poll; AWS's does not, but then each event waits for the next poll.
    HOLD = 2.0

    @classmethod
    def setUpClass(cls):
        scenario.program(scenario.AGENT_VARIABLE)
        super().setUpClass()
        cls.host = wire.Host("arn:aws:iam::123456789012:user/web-1", ("AKIAPEERSHOST", "se/cret+of/web-1"))
        cls.service, cls.s3 = cls.serve()
        cls.service.hold = cls.HOLD
        cls.addClassCleanup(cls.service.stop)
        cls.addClassCleanup(cls.s3.stop)
        cls.bucket = cls.s3.bucket(BUCKET)
        cls.signer = trust.self_signed(cls.place / "signer", "Self Signed")
        cls.tested = TestedHost(cls, "web-1", cls.host, cls.service, cls.s3, cls.settings(), cls.environment())

    @classmethod
    def serve(cls):
        """The service and the bucket's server."""
        return service.Service(cls.tls, [cls.host], cls.PROTOCOL), S3(cls.tls, dict([cls.host.key]))

    @classmethod
    def environment(cls):
        """The agent's environment; a class that needs its directory in it replaces this."""
        return cls.ENVIRONMENT

    @classmethod
    def settings(cls):
        """The agent's settings; a class whose settings need its directory replaces this."""
        return cls.SETTINGS

    def setUp(self):
        self.tested.program.must_run()
        self.group = str(uuid.uuid4())
        # A place of its own for each test, which nothing else installs to.
        self.site = self.place / "sites" / self.group
        self.notes = self.place / "notes" / self.group
        self.notes.parent.mkdir(exist_ok=True)
        self.addCleanup(self.check_conformance)

    def check_conformance(self):
        """Whatever a test is about, every request must have kept to the protocol."""
        deviations = self.service.deviations + self.s3.deviations
        self.service.deviations, self.s3.deviations = [], []
        self.service.forget()
        self.s3.faults.clear()
        self.assertEqual(deviations, [])
        self.tested.program.must_run()

    def revision(self, hooks, files=None):
        """The files of a revision: `hooks` maps events to the lines of the script that each one runs."""
        appspec = APPSPEC.format(site=self.site)
        content = {"site/index.html": "served\n"}
        for event, lines in hooks.items():
            appspec += f"  {event}:\n    - location: scripts/{event}.sh\n      timeout: 20\n"
            content[f"scripts/{event}.sh"] = bundles.script(lines)
        if not hooks:
            appspec += "  AfterInstall: []\n"
        return {"appspec.yml": appspec} | content | (files or {})

    def note(self, text):
        """A script's line that adds to this test's notes."""
        return f"echo {text} >> {self.notes}"

    def noted(self):
        """What this test's scripts noted."""
        return self.notes.read_text().splitlines() if self.notes.exists() else []

    def put(self, files, kind="zip", **stored):
        """Puts a revision into the bucket and gives its specification's revision."""
        key = f"{self.group}/{uuid.uuid4()}.{kind}"
        self.bucket.put(key, bundles.pack(kind, files), **stored)
        return deployments.s3_revision(BUCKET, key, kind)

    def deployment(self, revision, seal=None, **more):
        """A deployment of this test's group."""
        spec = deployments.specification(revision, **({"DeploymentGroupId": self.group} | more))
        return deployments.Deployment(self.service, self.host, spec, seal or self.seal)

    def deploy(self, files, events=deployments.IN_PLACE, **more):
        """Deploys files, and gives the deployment when it has ended."""
        return self.deployment(self.put(files), **more).run(events)

    def seal(self, specification):
        """An envelope by the class's signer."""
        return envelope.seal(specification, self.signer)

    def assert_succeeded(self, deployment):
        failed = {n: c.completion.message for n, c in deployment.commands.items() if c.completion and c.completion.code}
        self.assertEqual((deployment.status, failed), ("Succeeded", {}))

    def assert_failed(self, deployment, event, code=5, holds=()):
        """The deployment failed at an event, with a code, and with words in the message."""
        command = deployment.commands[event]
        self.assertIsNotNone(command.completion, f"{event} was not completed; {deployment.statuses()}")
        self.assertEqual((command.completion.status, command.completion.code), ("Failed", code), command.completion)
        for words in [holds] if isinstance(holds, str) else holds:
            self.assertIn(words, command.completion.message)


def base64_digest(digest):
    """A digest as S3's headers have it."""
    return base64.b64encode(digest).decode()
