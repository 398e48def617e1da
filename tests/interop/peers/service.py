"""A commands service as AWS runs one: answers at once, trusts nothing, and remembers all it was told."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import json
import threading
import time
import uuid

from . import listener, sigv4
from .wire import (
    CONTENT_TYPE,
    DIAGNOSTICS,
    LOG_LIMIT,
    PLAIN,
    REQUESTS,
    SIGNED_HEADERS,
    Completion,
    error,
    members,
    new_identifier,
    payload,
)


@dataclasses.dataclass
class Command:
    """One command for one host, and all that happened to it."""

    name: str
    host: str
    envelope: dict
    identifier: str
    execution: str
    # What the acknowledgement is answered: a status, or nothing.
    answer: str | None = "InProgress"
    # The host that the offer names; other than `host` only to see that it is refused.
    named_host: str | None = None
    offers: int = 0
    specification_reads: int = 0
    acknowledgements: list = dataclasses.field(default_factory=list)
    completions: list = dataclasses.field(default_factory=list)
    ended: bool = False

    @property
    def completion(self):
        """The result that counts: the first."""
        return self.completions[0] if self.completions else None

    @property
    def was_noop(self):
        """What the host said when it acknowledged."""
        return self.acknowledgements[0]


# The request is taken and obeyed, and the answer gets lost on its way.
LOST = object()


@dataclasses.dataclass(frozen=True)
class Style:
    """How a service's answers look: as AWS's, or as those of one that was written in an afternoon."""

    version: str
    bare: bool


AWS = Style("HTTP/1.1", False)
HOMEMADE = Style("HTTP/1.0", True)


class Service:
    """The commands service. What hosts do wrong is collected in `deviations`."""

    def __init__(self, pair, hosts, protocol=PLAIN, style=AWS):
        self.hosts = {host.arn: host for host in hosts}
        self.keys = {host.key[0]: host.key[1] for host in hosts}
        self.owners = {host.key[0]: host.arn for host in hosts}
        self.protocol = protocol
        self.style = style
        # Whether a host is offered a command while it is at another one.
        self.concurrent = False
        # Seconds for which a poll that has nothing is held open.
        self.hold = 0.0
        self.greetings = 0
        self.versions = set()
        self.polls = collections.defaultdict(list)
        self.held = collections.Counter()
        self.commands = []
        self.queue = []
        self.faults = collections.defaultdict(list)
        self.deviations = []
        self.nothing = itertools.cycle([{}, {"HostCommand": None}])
        self.changed = threading.Condition()
        self.stopped = False
        self.listener = listener.Listener(self.answer, pair, style.version)

    @property
    def url(self):
        """Where it listens."""
        return self.listener.url

    def stop(self):
        """Stops listening, and lets go of the polls that it holds."""
        with self.changed:
            self.stopped = True
            self.changed.notify_all()
        self.listener.stop()

    def start(self):
        """Listens again where it did."""
        self.stopped = False
        self.listener.start()

    def offer(self, name, host, envelope, execution, **more):
        """Puts a command in a host's queue."""
        identifier = f"command-{len(self.commands)}" if self.style.bare else new_identifier()
        command = Command(name, host.arn, envelope, identifier, execution, **more)
        with self.changed:
            self.commands.append(command)
            self.queue.append(command)
            self.changed.notify_all()
        return command

    def offer_again(self, command):
        """Offers a command once more, as a service does that lost its memory of the answer."""
        with self.changed:
            command.ended = False
            self.queue.append(command)
            self.changed.notify_all()

    def fail_next(self, operation, *faults):
        """Answers the operation's next requests by these faults."""
        with self.changed:
            self.faults[operation].extend(faults)

    def forget(self):
        """Ends every command and every fault, so that what failed in one test does not disturb the next."""
        with self.changed:
            self.queue.clear()
            self.faults.clear()
            for command in self.commands:
                command.ended = True

    def wait(self, what, condition, seconds=60):
        """Waits until a condition holds; an error that says what was waited for, otherwise."""
        if not self.changed_within(condition, seconds):
            raise TimeoutError(f"waited {seconds} s in vain for {what}")

    def changed_within(self, condition, seconds):
        """Whether a condition comes to hold in so many seconds."""
        with self.changed:
            return self.changed.wait_for(condition, seconds)

    # Answers

    def answer(self, request):
        """Answers one request."""
        if request.method == "GET" and request.path == "/":
            with self.changed:
                self.greetings += 1
                self.changed.notify_all()
            return listener.Response(404, {"Content-Type": "text/plain"}, b"nothing to see here")
        prefix, _, operation = (request.header("x-amz-target") or "").rpartition(".")
        if request.method != "POST" or request.path != "/" or operation not in REQUESTS:
            self.deviate(f"{request.method} {request.path} with target {prefix}.{operation}")
            return error(404, "UnknownOperationException", "")
        try:
            body, host = self.read(request, prefix, operation)
        except sigv4.NotSigned as problem:
            self.deviate(f"{operation}: {problem}")
            return error(403, "InvalidSignatureException", str(problem))
        except ValueError as problem:
            self.deviate(f"{operation}: {problem}")
            return error(400, "ClientException", str(problem))
        with self.changed:
            fault = self.faults[operation].pop(0) if self.faults[operation] else None
        if isinstance(fault, listener.Response):
            with self.changed:
                self.changed.notify_all()
            return fault
        try:
            answered = getattr(self, OPERATIONS[operation])(host, body)
        except ValueError as problem:
            self.deviate(f"{operation}: {problem}")
            return error(400, "ClientException", str(problem))
        if fault is LOST:
            raise listener.Dropped
        headers = {"Content-Type": CONTENT_TYPE, "x-amzn-RequestId": str(uuid.uuid4())}
        if self.style.bare:
            headers = {}
            answered = without_extras(answered)
        return listener.Response(200, headers, json.dumps(answered).encode())

    def read(self, request, prefix, operation):
        """The body of a request and the host that signed it, after every check of the wire."""
        signature = sigv4.verify(request, self.keys)
        wrong = []
        if prefix != self.protocol.prefix:
            wrong.append(f"the target's prefix is {prefix}")
        if signature.service != self.protocol.signing_name:
            wrong.append(f"signed for {signature.service}")
        if signature.headers != SIGNED_HEADERS:
            wrong.append(f"signed headers are {signature.headers}")
        if request.header("content-type") != CONTENT_TYPE:
            wrong.append(f"Content-Type is {request.header('content-type')}")
        if not request.header("x-amz-codedeploy-agent-version"):
            wrong.append("x-amz-codedeploy-agent-version is empty")
        if wrong:
            raise ValueError("; ".join(wrong))
        self.versions.add(request.header("x-amz-codedeploy-agent-version"))
        body = members(request.body, REQUESTS[operation], operation)
        host = self.owners[signature.key]
        if body.get("HostIdentifier", host) != host:
            raise ValueError(f"{host} asks for {body['HostIdentifier']}")
        return body, host

    def poll(self, host, _body):
        deadline = time.monotonic() + self.hold
        with self.changed:
            self.polls[host].append(time.monotonic())
            self.changed.notify_all()
            while True:
                running = [c for c in self.commands if c.host == host and c.offers and not c.ended]
                busy = not self.concurrent and any(c not in self.queue for c in running)
                ready = [] if busy else [c for c in self.queue if c.host == host]
                left = deadline - time.monotonic()
                if ready or left <= 0 or self.stopped:
                    break
                self.held[host] += 1
                self.changed.notify_all()
                self.changed.wait(left)
                self.held[host] -= 1
                self.changed.notify_all()
            if not ready:
                return next(self.nothing)
            command = ready[0]
            self.queue.remove(command)
            command.offers += 1
            self.changed.notify_all()
        return {
            "HostCommand": {
                "HostCommandIdentifier": command.identifier,
                "HostIdentifier": command.host if command.named_host is None else command.named_host,
                "DeploymentExecutionId": command.execution,
                "CommandName": command.name,
                "Nonce": 4611686018427387904 + command.offers,
                "CommandPriority": None,
            },
            "ServiceHints": {"next": ["later"]},
        }

    def specification(self, host, body):
        with self.changed:
            found = [c for c in self.commands if c.execution == body["DeploymentExecutionId"] and c.host == host]
            if not found:
                raise ValueError(f"no execution {body['DeploymentExecutionId']} for {host}")
            # All commands of one deployment share their specification, unless a test says otherwise.
            command = next((c for c in reversed(found) if c.offers and not c.ended), found[-1])
            command.specification_reads += 1
            self.changed.notify_all()
        sealed = {"GenericEnvelope": command.envelope, "VariantId": None, "VariantEnvelope": None}
        return {"DeploymentSystem": "CodeDeploy", "DeploymentSpecification": sealed, "Region": "us-east-1"}

    def acknowledge(self, host, body):
        said = json.loads(payload(body["Diagnostics"]))
        if list(said) != ["IsCommandNoop"] or not isinstance(said["IsCommandNoop"], bool):
            raise ValueError(f"the acknowledgement says {said}")
        with self.changed:
            command = self.find(host, body)
            command.acknowledgements.append(said["IsCommandNoop"])
            if command.completions and command.offers == 1:
                self.deviations.append(f"{command.name} is acknowledged after its completion")
            if command.answer in ("Succeeded", "Failed"):
                command.ended = True
            self.changed.notify_all()
            return {} if command.answer is None else {"CommandStatus": command.answer}

    def complete(self, host, body):
        text = payload(body["Diagnostics"])
        said = members(text.encode(), DIAGNOSTICS, "diagnostics")
        if body["CommandStatus"] not in ("Succeeded", "Failed"):
            raise ValueError(f"completed as {body['CommandStatus']}")
        if (body["CommandStatus"] == "Succeeded") != (said["error_code"] == 0):
            raise ValueError(f"{body['CommandStatus']} with code {said['error_code']}")
        if said["error_code"] not in range(8):
            raise ValueError(f"the code is {said['error_code']}")
        if len(said["log"].encode()) > LOG_LIMIT:
            raise ValueError(f"the log is {len(said['log'].encode())} bytes long")
        completion = Completion(
            body["CommandStatus"], said["error_code"], said["script_name"], said["message"], said["log"], text
        )
        with self.changed:
            command = self.find(host, body)
            command.completions.append(completion)
            command.ended = True
            self.changed.notify_all()
        return {}

    def find(self, host, body):
        for command in self.commands:
            if command.identifier == body["HostCommandIdentifier"] and command.host == host:
                return command
        raise ValueError(f"{host} has no command {body['HostCommandIdentifier'][:40]}…")

    def deviate(self, what):
        with self.changed:
            self.deviations.append(what)
            self.changed.notify_all()


OPERATIONS = {
    "PollHostCommand": "poll",
    "GetDeploymentSpecification": "specification",
    "PutHostCommandAcknowledgement": "acknowledge",
    "PutHostCommandComplete": "complete",
}


# What an answer holds beyond what the protocol's description names, and what may be null.
EXTRAS = ("CommandPriority", "ServiceHints", "Region", "Nonce", "VariantId", "VariantEnvelope")


def without_extras(answered):
    """An answer with nothing in it but what an agent cannot do without."""
    if not isinstance(answered, dict):
        return answered
    return {name: without_extras(value) for name, value in answered.items() if name not in EXTRAS}
