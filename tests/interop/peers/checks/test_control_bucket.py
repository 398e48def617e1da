"""The S3 of the tested control service, keys, and errors, by AWS's SDK."""

from __future__ import annotations

import json
import urllib.parse

from .. import names, scenario, sdk
from ..controls import key_of
from .against_control import BUCKET, NAME, AgainstControl


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
