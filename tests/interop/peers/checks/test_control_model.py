"""The tested control service, held to botocore's model of the API: every operation, with every member of its input
missing, empty, too long, of another type, and unknown. Each answer has the shape of the model; each error has a name that
the model lists for its operation, and a message."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.parse

from .. import sdk
from .against_control import BUCKET, AgainstControl

# What any operation of the protocol may answer.
OF_THE_PROTOCOL = {"SerializationException"}
# What belongs to other products of AWS, or is not there yet, is refused.
REFUSED = {
    "ContinueDeployment", "SkipWaitTimeForInstanceTermination", "DeleteGitHubAccountToken", "ListGitHubAccountTokenNames",
    "DeleteResourcesByExternalId", "PutLifecycleEventHookExecutionStatus",
}  # fmt: skip
# The model has no error for it, and it is refused all the same.
WITHOUT_ERRORS = {"DeleteResourcesByExternalId": {"OperationNotSupportedException"}}
# AWS's own service answers this for its built-in configurations, and the model's list does not have it.
MORE_THAN_THE_MODEL = {"MinimumHealthyHostsType": {"MOST_CONCURRENCY"}}
UNKNOWN = "no-such-thing"
LONG = "x" * 10_000
TYPES = {
    "string": str, "boolean": bool, "integer": int, "long": int, "timestamp": (int, float), "list": list, "map": dict,
    "structure": dict,
}  # fmt: skip


class Model(AgainstControl):
    """botocore's model, and a service to hold to it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = cls.deploy.meta.service_model
        url = urllib.parse.urlsplit(cls.control.endpoint)
        trust = ssl.create_default_context(cafile=str(cls.control.ca_file))
        cls.connection = http.client.HTTPSConnection(url.hostname, url.port, context=trust, timeout=30)
        cls.addClassCleanup(cls.connection.close)
        cls.key = sdk.credentials.Credentials(*cls.control.administrator)

    def call(self, operation, body):
        """Calls an operation with any body; gives the status and what was answered."""
        headers = {
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": f"{self.model.metadata['targetPrefix']}.{operation}",
        }
        request = sdk.awsrequest.AWSRequest("POST", self.control.endpoint + "/", headers=headers, data=body)
        sdk.auth.SigV4Auth(self.key, "codedeploy", "us-east-1").add_auth(request)
        self.connection.request("POST", "/", body, dict(request.headers.items()))
        answer = self.connection.getresponse()
        return answer.status, json.loads(answer.read())

    def test_every_answer_has_the_shape_of_the_model_and_every_error_a_name_of_its_operation(self):
        self.fleet(1)
        location = self.push({})
        self.deployment = self.create(location)
        self.revision = {"revisionType": "S3", "s3Location": location}
        wrong, calls, answered = [], 0, set()
        for name in sorted(self.model.operation_names):
            operation = self.model.operation_model(name)
            for what, sent in self.inputs(operation):
                status, answer = self.call(name, json.dumps(sent).encode())
                calls += 1
                problems = self.problems(operation, status, answer)
                wrong += [f"{name} with {what} {json.dumps(sent)[:300]}: {problem}" for problem in problems]
                if status == 200:
                    answered.add(name)
        self.assertGreater(calls, 1000)
        self.assertEqual(wrong, [], f"{len(wrong)} of {calls} calls\n" + "\n".join(wrong[:60]))
        self.assertEqual(set(self.model.operation_names) - answered, REFUSED, "operations that were never answered")

    def problems(self, operation, status, answer):
        """What is wrong with an answer."""
        if status == 200:
            if operation.output_shape is None:
                return [] if answer in ({}, None) else [f"answered {answer}, and has no output"]
            return list(misshapen(operation.output_shape, answer, operation.name))
        name, message = answer.get("__type"), answer.get("message")
        listed = {shape.name for shape in operation.error_shapes} | OF_THE_PROTOCOL
        listed |= WITHOUT_ERRORS.get(operation.name, set())
        found = []
        if status != 400:
            found.append(f"status {status}")
        if name not in listed:
            found.append(f"{name} is not an error of this operation: {message}")
        if not message or len(message) < 15:
            found.append(f"{name} says {message!r}")
        return found

    def inputs(self, operation):
        """Inputs of an operation, each with a word for what is special in it. The good one comes last, since it may remove
        what the others need."""
        shape = operation.input_shape
        if shape is None or not shape.members:
            yield "nothing", {}
            return
        yield "nothing", {}
        yield "an array", []
        for place, member in places(shape):
            path = ".".join(map(str, place))
            for what, value in oddities(member):
                yield f"{path} {what}", replaced(self.good(operation.name), place, value)
            good = self.good(operation.name)
            if value_at(good, place) is not None:
                yield f"no {path}", replaced(good, place, None, remove=True)
        yield "all that it needs", self.good(operation.name)

    def good(self, operation):
        """An input that is answered, of names that are there only for it where it removes something."""
        application = {"applicationName": "site"}
        group = application | {"deploymentGroupName": self.group}
        role = {"serviceRoleArn": "arn:aws:iam::123456789012:role/deploys"}
        deployment = {"deploymentId": self.deployment}
        host = f"{self.name}-1"
        arn = f"arn:aws:codedeploy:us-east-1:{self.account}:application:site"
        tags = [{"Key": "a", "Value": "b"}]
        revision = {"revision": self.revision}
        match operation:
            case "CreateApplication":
                return {"applicationName": "made", "computePlatform": "Server", "tags": tags}
            case "DeleteApplication":
                self.made("create_application", applicationName="gone")
                return {"applicationName": "gone"}
            case "UpdateApplication":
                self.made("create_application", applicationName="renamed")
                return {"applicationName": "renamed", "newApplicationName": "renamed-too"}
            case "GetApplication" | "ListDeploymentGroups" | "ListApplicationRevisions":
                return application
            case "BatchGetApplications":
                return {"applicationNames": ["site"]}
            case "CreateDeploymentConfig":
                return {"deploymentConfigName": "made", "minimumHealthyHosts": {"type": "HOST_COUNT", "value": 1}}
            case "DeleteDeploymentConfig":
                least = {"type": "HOST_COUNT", "value": 1}
                self.made("create_deployment_config", deploymentConfigName="gone", minimumHealthyHosts=least)
                return {"deploymentConfigName": "gone"}
            case "GetDeploymentConfig":
                return {"deploymentConfigName": "CodeDeployDefault.OneAtATime"}
            case "CreateDeploymentGroup":
                return application | role | {"deploymentGroupName": "made"}
            case "DeleteDeploymentGroup":
                self.made("create_deployment_group", deploymentGroupName="gone", **application, **role)
                return application | {"deploymentGroupName": "gone"}
            case "UpdateDeploymentGroup":
                self.made("create_deployment_group", deploymentGroupName="changed", **application, **role)
                return application | {"currentDeploymentGroupName": "changed"}
            case "GetDeploymentGroup":
                return group
            case "BatchGetDeploymentGroups":
                return application | {"deploymentGroupNames": [self.group]}
            case "CreateDeployment":
                # A group without hosts: each deployment ends at once.
                self.made("create_deployment_group", deploymentGroupName="empty", **application, **role)
                return application | revision | {"deploymentGroupName": "empty"}
            case "RegisterApplicationRevision" | "GetApplicationRevision":
                return application | revision
            case "BatchGetApplicationRevisions":
                return application | {"revisions": [self.revision]}
            case "BatchGetDeployments":
                return {"deploymentIds": [self.deployment]}
            case "GetDeployment" | "StopDeployment" | "ListDeploymentInstances" | "ListDeploymentTargets":
                return deployment
            case "GetDeploymentInstance":
                return deployment | {"instanceId": host}
            case "GetDeploymentTarget":
                return deployment | {"targetId": host}
            case "BatchGetDeploymentInstances":
                return deployment | {"instanceIds": [host]}
            case "BatchGetDeploymentTargets":
                return deployment | {"targetIds": [host]}
            case "RegisterOnPremisesInstance":
                return {"instanceName": "made", "iamUserArn": "arn:aws:iam::123456789012:user/AWS/CodeDeploy/made"}
            case "DeregisterOnPremisesInstance" | "GetOnPremisesInstance":
                return {"instanceName": host}
            case "BatchGetOnPremisesInstances":
                return {"instanceNames": [host]}
            case "AddTagsToOnPremisesInstances" | "RemoveTagsFromOnPremisesInstances":
                return {"instanceNames": [host], "tags": tags}
            case "TagResource":
                return {"ResourceArn": arn, "Tags": tags}
            case "UntagResource":
                return {"ResourceArn": arn, "TagKeys": ["a"]}
            case "ListTagsForResource":
                return {"ResourceArn": arn}
        return {}

    def made(self, operation, **members):
        """Makes something, if it is not there yet."""
        try:
            getattr(self.deploy, operation)(**members)
        except sdk.exceptions.ClientError as error:
            self.assertIn("AlreadyExists", error.response["Error"]["Code"])

    @property
    def account(self):
        from .. import scenario

        return scenario.ACCOUNT


def places(shape, place=(), depth=3):
    """The members of a structure and of those in it, as paths with their shapes."""
    for name, member in shape.members.items():
        yield (*place, name), member
        inner, path = member, (*place, name)
        while inner.type_name == "list":
            inner, path = inner.member, (*path, 0)
        if path != (*place, name):
            yield path, inner
        if inner.type_name == "structure" and depth > 1:
            yield from places(inner, path, depth - 1)


def oddities(shape):
    """Values that a member of that shape should not have, and some that it may."""
    yield "null", None
    match shape.type_name:
        case "string":
            yield "empty", ""
            yield "too long", LONG
            yield "unknown", UNKNOWN
            yield "with a line end", "a\nb"
            yield "a number", 7
            yield "a list", ["a"]
            for value in getattr(shape, "enum", ())[:12]:
                yield "of the model", value
        case "integer" | "long":
            yield "negative", -1
            yield "far too large", 2**70
            yield "a string", "1"
        case "boolean":
            yield "true", True
            yield "false", False
            yield "a string", "true"
        case "timestamp":
            yield "zero", 0
            yield "far away", 1e300
            yield "a string", "today"
        case "list":
            yield "empty", []
            yield "too long", ["x"] * 300
            yield "a string", "a"
            yield "of null", [None]
        case "map":
            yield "empty", {}
            yield "of an unknown name", {UNKNOWN: ["x"]}
            yield "a list", ["a"]
        case "structure":
            yield "empty", {}
            yield "an array", ["a"]
            yield "a string", "a"


def value_at(value, place):
    for step in place:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def replaced(value, place, new, remove=False):
    """A copy with another value at a place; what is on the way and not there is made."""
    copy = json.loads(json.dumps(value))
    at = copy
    for step, after in zip(place, (*place[1:], None)):
        if after is None:
            if remove:
                del at[step]
            elif isinstance(step, int):
                at[:] = [new]
            else:
                at[step] = new
            return copy
        empty = [] if isinstance(after, int) else {}
        if isinstance(step, int):
            if not at:
                at.append(empty)
        elif not isinstance(at.get(step), type(empty)):
            at[step] = empty
        at = at[step]
    return copy


def misshapen(shape, value, where):
    """Where a value is not of its shape."""
    kind = shape.type_name
    if not isinstance(value, TYPES[kind]) or isinstance(value, bool) != (kind == "boolean"):
        yield f"{where} is no {kind}: {value!r:.100}"
    elif kind == "structure":
        for name in value.keys() - shape.members.keys():
            yield f"{where} has {name}, which the model does not know"
        for name in set(shape.required_members) - value.keys():
            yield f"{where} lacks {name}"
        for name, inner in value.items():
            if name in shape.members:
                yield from misshapen(shape.members[name], inner, f"{where}.{name}")
    elif kind == "list":
        for inner in value:
            yield from misshapen(shape.member, inner, f"{where}[]")
    elif kind == "map":
        for inner in value.values():
            yield from misshapen(shape.value, inner, f"{where}{{}}")
    elif kind == "string" and getattr(shape, "enum", ()) and value not in (*shape.enum, *MORE_THAN_THE_MODEL.get(shape.name, ())):
        yield f"{where} is {value!r}, which is none of {shape.enum}"
