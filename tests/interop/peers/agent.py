"""An agent as AWS ships one (1.8.1), as far as a service can tell: what it sends, when, and what it forgives.

It has that agent's habits on purpose: it looks at no chain unless it is told to, completes twice when a
script fails, and runs a command again that is offered again.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import pathlib
import shutil
import ssl
import subprocess
import time
import urllib.parse

from . import bundles, envelope, sdk
from .wire import CONTENT_TYPE, LOG_LIMIT, PLAIN

VERSION = "OFFICIAL_1.8.1-21_deb"
# Seconds that this agent's client waits for an answer.
READ_TIMEOUT = 80
NO_SCRIPTS = ("DownloadBundle", "Install")
ATTEMPTS = 3


class Refused(Exception):
    """The service answered with an error."""

    def __init__(self, status, kind, message):
        super().__init__(f"{status} {kind}: {message}")
        self.status, self.kind, self.message = status, kind, message


class ScriptFailed(Exception):
    """A script ended badly: its code on the wire, and its output."""

    def __init__(self, code, script, message, log=""):
        super().__init__(message)
        self.code, self.script, self.message, self.log = code, script, message, log


class Agent:
    """One host. `deliver` may be replaced to see what a service makes of other habits."""

    def __init__(self, endpoint, host, ca_file, root, protocol=PLAIN, version=VERSION):
        self.endpoint = urllib.parse.urlsplit(endpoint)
        self.host = host
        self.ca_file = ca_file
        self.root = pathlib.Path(root)
        self.protocol = protocol
        self.version = version
        self.region = "us-east-1"
        self.s3 = sdk.client("s3", endpoint, host.key, ca_file)
        # Where signers must chain to; AWS's agents do not ask.
        self.spec_ca = None
        # What happened, one entry for each command: its name, the no-op answer, the acknowledgement's answer.
        self.handled = []
        self.run_scripts = []

    # The wire

    def greet(self):
        """The plain `GET /` by which AWS's agents check TLS when they start. Gives the status."""
        connection = self.connect()
        try:
            connection.request("GET", "/")
            return connection.getresponse().status
        finally:
            connection.close()

    def call(self, operation, body, protocol=None, key=None, unsigned=False):
        """One operation, signed as AWS's agents sign; tried again after a 5xx as they do."""
        for attempt in range(1, ATTEMPTS + 1):
            status, text = self.send(operation, body, protocol or self.protocol, key or self.host.key, unsigned)
            if status < 500 or attempt == ATTEMPTS:
                break
            time.sleep(0.3 * attempt)
        answer = json.loads(text) if text else {}
        if status != 200:
            kind = str(answer.get("__type", "")).rpartition("#")[2]
            raise Refused(status, kind, answer.get("message", answer.get("Message", "")))
        return answer

    def send(self, operation, body, protocol, key, unsigned):
        connection = self.connect()
        try:
            self.request(connection, operation, json.dumps(body).encode(), protocol, None if unsigned else key)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def request(self, connection, operation, text, protocol=PLAIN, key=()):
        """Sends a request without waiting for its answer. A key that is `None` signs nothing."""
        headers = {
            "Content-Type": CONTENT_TYPE,
            "X-Amz-Target": f"{protocol.prefix}.{operation}",
            "X-Amz-Codedeploy-Agent-Version": self.version,
            "X-Amz-Content-Sha256": hashlib.sha256(text).hexdigest(),
            "Host": self.endpoint.netloc,
        }
        request = sdk.awsrequest.AWSRequest("POST", self.endpoint.geturl() + "/", headers, text)
        if key is not None:
            who = sdk.credentials.Credentials(*(key or self.host.key))
            sdk.auth.SigV4Auth(who, protocol.signing_name, self.region).add_auth(request)
        sent = dict(request.headers.items()) | {
            "Accept": "*/*",
            "Accept-Encoding": "",
            "User-Agent": "aws-sdk-ruby3/3.205.0 ua/2.0 api/code_deploy_command#1.0 os/linux lang/ruby#3.2.3",
        }
        connection.request("POST", "/", text, sent)

    def connect(self):
        trust = ssl.create_default_context(cafile=str(self.ca_file))
        return http.client.HTTPSConnection(
            self.endpoint.hostname, self.endpoint.port, timeout=READ_TIMEOUT, context=trust
        )

    def poll(self):
        """The host command that is offered, or nothing."""
        return self.call("PollHostCommand", {"HostIdentifier": self.host.arn}).get("HostCommand") or None

    def specification(self, command):
        """The specification of a command, out of an envelope whose signature holds."""
        answer = self.call(
            "GetDeploymentSpecification",
            {"DeploymentExecutionId": command["DeploymentExecutionId"], "HostIdentifier": self.host.arn},
        )
        if answer["DeploymentSystem"] != "CodeDeploy":
            raise ValueError(f"the deployment system is {answer['DeploymentSystem']}")
        sealed = answer["DeploymentSpecification"]["GenericEnvelope"]
        return json.loads(envelope.open_envelope(sealed, self.spec_ca))

    def acknowledge(self, command, noop):
        """Acknowledges a command and gives the status that is answered, if any."""
        return self.call(
            "PutHostCommandAcknowledgement",
            {
                "HostCommandIdentifier": command["HostCommandIdentifier"],
                "Diagnostics": {"Format": "JSON", "Payload": json.dumps({"IsCommandNoop": noop})},
            },
        ).get("CommandStatus")

    def complete(self, command, status, code=0, script="", message="Succeeded", log=""):
        """Completes a command."""
        said = {"error_code": code, "script_name": script, "message": message, "log": log}
        return self.call(
            "PutHostCommandComplete",
            {
                "HostCommandIdentifier": command["HostCommandIdentifier"],
                "CommandStatus": status,
                "Diagnostics": {"Format": "JSON", "Payload": json.dumps(said)},
            },
        )

    # The work

    def step(self):
        """One poll, and the command that it brings; gives the command's name, or nothing."""
        command = self.poll()
        if command is None:
            return None
        self.deliver(command)
        return command["CommandName"]

    def work_until(self, done, seconds=60, pause=0.05):
        """Takes steps until `done()` holds."""
        deadline = time.monotonic() + seconds
        while not done():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.host.arn} worked for {seconds} s in vain; it did {self.handled}")
            if self.step() is None:
                time.sleep(pause)

    def deliver(self, command):
        """From the offer to the completion, as AWS's agents go about it."""
        name = command["CommandName"]
        try:
            if command["HostIdentifier"] != self.host.arn:
                raise ValueError(f"the command is for {command['HostIdentifier']}")
            spec = self.specification(command)
            noop = self.is_noop(name, spec)
            answer = self.acknowledge(command, noop)
            self.handled.append((name, noop, answer))
            if answer in ("Succeeded", "Failed"):
                if answer == "Failed" and noop:
                    self.complete(command, "Succeeded", message="Succeeded: CompletedNoopCommand")
                return
            try:
                log = self.execute(name, spec)
            except ScriptFailed as failure:
                self.complete(command, "Failed", failure.code, failure.script, failure.message, failure.log)
                raise
            self.complete(command, "Succeeded", log=log)
        except Refused:
            raise
        except Exception as problem:  # whatever it was, the service hears of it
            self.complete(command, "Failed", 5, "", str(problem))

    def execute(self, name, spec):
        """Runs a command for real, in this agent's root directory. Gives the log of its scripts."""
        if name == "DownloadBundle":
            self.download(spec)
            (self.folder(spec).parent / "most-recent").write_text(str(self.archive(spec)))
        elif name == "Install":
            self.install(spec)
            (self.folder(spec).parent / "last-successful").write_text(str(self.archive(spec)))
        else:
            return self.run_hooks(name, spec)
        return ""

    def download(self, spec):
        place = spec["Revision"]["S3Revision"]
        asked = {"Bucket": place["Bucket"], "Key": place["Key"]}
        if place.get("Version"):
            asked["VersionId"] = place["Version"]
        got = self.s3.get_object(**asked)
        etag = place.get("ETag")
        if etag and got["ETag"].strip('"') != etag.strip('"'):
            raise ValueError(f"the ETag is {got['ETag']}, expected {etag}")
        shutil.rmtree(self.folder(spec), ignore_errors=True)
        self.archive(spec).mkdir(parents=True)
        bundles.unpack(place["BundleType"], got["Body"].read(), self.archive(spec))

    def install(self, spec):
        archive = self.archive(spec)
        for item in self.appspec(archive).get("files", []):
            source, destination = archive / item["source"].lstrip("/"), pathlib.Path(item["destination"])
            destination.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, destination, dirs_exist_ok=True)
            else:
                shutil.copy2(source, destination)

    def run_hooks(self, event, spec):
        log = ""
        archive = self.archive_of(event, spec)
        for script in self.scripts(event, archive):
            location = script["location"]
            path = archive / location
            self.run_scripts.append((event, location))
            if not path.exists():
                raise ScriptFailed(1, location, f"Script does not exist at specified location: {path}")
            environment = os.environ | {
                "LIFECYCLE_EVENT": event,
                "DEPLOYMENT_ID": spec["DeploymentId"],
                "APPLICATION_NAME": spec["ApplicationName"],
                "DEPLOYMENT_GROUP_NAME": spec["DeploymentGroupName"],
                "DEPLOYMENT_GROUP_ID": spec["DeploymentGroupId"],
            }
            try:
                ran = subprocess.run(
                    [path], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT, timeout=script.get("timeout", 3600), check=False,
                )  # fmt: skip
            except subprocess.TimeoutExpired as late:
                raise ScriptFailed(3, location, f"Script at specified location: {location} timed out", log) from late
            lines = ran.stdout.decode(errors="replace").splitlines()
            log += f"Script - {location}\n" + "".join(f"[stdout]{line}\n" for line in lines)
            log = log.encode()[-LOG_LIMIT:].decode(errors="ignore")
            if ran.returncode:
                message = f"Script at specified location: {location} failed with exit code {ran.returncode}"
                raise ScriptFailed(4, location, message, log)
        return log

    def is_noop(self, event, spec):
        """Whether there is nothing to do for a command."""
        return event not in NO_SCRIPTS and not self.scripts(event, self.archive_of(event, spec))

    def scripts(self, event, archive):
        return (self.appspec(archive).get("hooks") or {}).get(event) or [] if archive else []

    def archive_of(self, event, spec):
        if self.archive(spec).exists():
            return self.archive(spec)
        last = self.folder(spec).parent / "last-successful"
        return pathlib.Path(last.read_text()) if event == "ApplicationStop" and last.exists() else None

    @staticmethod
    def appspec(archive):
        # JSON is YAML too, and this agent reads no other.
        return json.loads((archive / "appspec.yml").read_text())

    def folder(self, spec):
        return self.root / spec["DeploymentGroupId"] / spec["DeploymentId"].rpartition("/")[2]

    def archive(self, spec):
        return self.folder(spec) / "deployment-archive"
