"""The protocol's words: who asks, what each message holds, and the errors a service may answer with."""

from __future__ import annotations

import base64
import dataclasses
import json
import secrets
import uuid

from . import listener

SIGNED_HEADERS = "content-type;host;x-amz-codedeploy-agent-version;x-amz-content-sha256;x-amz-date;x-amz-target"
CONTENT_TYPE = "application/x-amz-json-1.1"
PAYLOAD_LIMIT = 8192
LOG_LIMIT = 2048
# What each operation's request holds: its members and their types. All of them are needed.
REQUESTS = {
    "PollHostCommand": {"HostIdentifier": str},
    "GetDeploymentSpecification": {"DeploymentExecutionId": str, "HostIdentifier": str},
    "PutHostCommandAcknowledgement": {"HostCommandIdentifier": str, "Diagnostics": dict},
    "PutHostCommandComplete": {"HostCommandIdentifier": str, "CommandStatus": str, "Diagnostics": dict},
}
DIAGNOSTICS = {"error_code": int, "script_name": str, "message": str, "log": str}


@dataclasses.dataclass(frozen=True)
class Protocol:
    """One of the two names under which the protocol is spoken."""

    prefix: str
    signing_name: str


PLAIN = Protocol("CodeDeployCommandService_v20141006", "codedeploy-commands")
SECURE = Protocol("CodeDeployCommandService", "codedeploy-commands-secure")


@dataclasses.dataclass(frozen=True)
class Host:
    """A host that may ask: its identifier, and the key that it signs with."""

    arn: str
    key: tuple


@dataclasses.dataclass(frozen=True)
class Completion:
    """What a host said at a command's end."""

    status: str
    code: int
    script: str
    message: str
    log: str
    payload: str


def members(text, types, what):
    """A JSON object that must hold exactly these members of these types."""
    body = json.loads(text)
    if not isinstance(body, dict) or set(body) != set(types):
        raise ValueError(f"{what} holds {sorted(body) if isinstance(body, dict) else body}, not {sorted(types)}")
    for name, kind in types.items():
        if type(body[name]) is not kind:
            raise ValueError(f"{name} of {what} is {body[name]!r}, not {kind.__name__}")
    return body


def payload(diagnostics):
    """The payload of diagnostics: a string of JSON, and not too long."""
    if set(diagnostics) != {"Format", "Payload"} or diagnostics["Format"] != "JSON":
        raise ValueError(f"diagnostics are {diagnostics}")
    text = diagnostics["Payload"]
    if not isinstance(text, str) or len(text) > PAYLOAD_LIMIT:
        raise ValueError(f"the payload of the diagnostics is {len(text)} long: {text[:80]!r}")
    return text


def new_identifier():
    """A host command identifier such as AWS's: some 400 base64 characters, `/` and `+` among them."""
    while True:
        text = base64.b64encode(secrets.token_bytes(300)).decode()
        if "/" in text and "+" in text:
            return text


# Faults that `Service.fail_next` takes.
def error(status, kind, message="something went wrong", member="message"):
    """An error in the protocol's form."""
    body = json.dumps({"__type": kind, member: message}).encode()
    return listener.Response(status, {"Content-Type": CONTENT_TYPE, "x-amzn-RequestId": str(uuid.uuid4())}, body)


THROTTLED = error(400, "ThrottlingException", "Rate exceeded")
TOO_MANY = listener.Response(429, {"Content-Type": "text/plain"}, b"Too many requests")
BROKEN = error(500, "ServerException", "internal failure")
UNAVAILABLE = listener.Response(
    503, {"Content-Type": "text/html"}, b"<html><body><h1>503 Service Unavailable</h1></body></html>"
)
NAMESPACED = error(400, "com.amazonaws.codedeploy.command#ClientException", "no", "Message")
CLIENT = error(400, "ClientException", "the request is not valid")
