"""Deployments as a service of AWS's kind drives them: a specification, and commands one after another."""

from __future__ import annotations

import secrets
import uuid

IN_PLACE = (
    "ApplicationStop",
    "DownloadBundle",
    "BeforeInstall",
    "Install",
    "AfterInstall",
    "ApplicationStart",
    "ValidateService",
)


class Deployment:
    """One deployment to one host: its specification, and its commands one after another."""

    def __init__(self, service, host, specification, seal):
        self.service = service
        self.host = host
        self.specification = specification
        self.id = specification["DeploymentId"].rpartition("/")[2]
        self.envelope = seal(specification)
        name = f"arn:aws:codedeploy:us-east-1:123456789012:deployment/{self.id}"
        self.execution = self.id if service.style.bare else f"{name}/host/{uuid.uuid4()}:1"
        self.commands = {}

    def run(self, events=IN_PLACE, seconds=60):
        """Sends the events, each after the end of the one before it, up to the first that fails."""
        for event in events:
            command = self.send(event)
            self.await_end(command, seconds)
            if command.completion and command.completion.status == "Failed":
                break
        return self

    def send(self, event, **more):
        """Offers one event's command without waiting."""
        command = self.service.offer(event, self.host, self.envelope, self.execution, **more)
        self.commands[event] = command
        return command

    def await_end(self, command, seconds=60):
        """Waits until a command has ended."""
        self.service.wait(f"the end of {command.name} of {self.id}", lambda: command.ended, seconds)

    @property
    def status(self):
        """Succeeded, or Failed by the first failure."""
        failed = any(c.completion and c.completion.status == "Failed" for c in self.commands.values())
        return "Failed" if failed else "Succeeded"

    def statuses(self):
        """Each command's name with how it ended."""
        return {
            name: "Noop" if command.acknowledgements[:1] == [True] else getattr(command.completion, "status", "Skipped")
            for name, command in self.commands.items()
        }


def specification(revision, **more):
    """A deployment specification with a new id; `more` replaces and adds members."""
    return {
        "DeploymentId": new_deployment_id(),
        "DeploymentGroupId": "f5b1c7d2-3a7e-4a4e-9d55-0a9f0c5c0a11",
        "DeploymentGroupName": "peers-fleet",
        "ApplicationName": "peers-app",
        "DeploymentCreator": "user",
        "DeploymentType": "IN_PLACE",
        "AppSpecFilename": "appspec.yml",
        "AgentActionOverrides": {"AgentOverrides": {"FileExistsBehavior": "DISALLOW"}},
        "Revision": revision,
    } | more


def s3_revision(bucket, key, kind, **more):
    """A revision in S3; version and ETag are null unless given."""
    place = {"Bucket": bucket, "Key": key, "BundleType": kind, "Version": None, "ETag": None} | more
    return {"RevisionType": "S3", "S3Revision": place}


def new_deployment_id():
    """`d-` and nine of A-Z0-9."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    return "d-" + "".join(secrets.choice(alphabet) for _ in range(9))
