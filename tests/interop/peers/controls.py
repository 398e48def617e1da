"""The control service that is tested, with hosts and operators as its users have them."""

from __future__ import annotations

import json
import re
import subprocess

from . import scenario, sdk, wire


class TestedControl:
    """One control service: its data directory, and its process while it runs."""

    def __init__(self, test, *options):
        self.binary = scenario.program(scenario.CONTROL_VARIABLE)
        self.place = test.place
        self.data = test.place / "control"
        self.realm = ("--region", scenario.REGION, "--account", scenario.ACCOUNT)
        self.program = test.start(
            "control", self.binary, "serve", "--data", self.data, "--listen", "127.0.0.1:0", *self.realm, *options
        )
        self.endpoint = self.await_endpoint()
        printed = self.command("keys", "create", "--administrator", "operator", "--json")
        self.administrator = key_of(json.loads(printed))

    @property
    def ca_file(self):
        """The certificate of the service's authority."""
        return self.data / "pki" / "ca.pem"

    def await_endpoint(self):
        written = self.data / "endpoint"

        def listening():
            self.program.must_run()
            return written.exists() and written.read_text().strip()

        return scenario.until("the service to listen", listening)

    def command(self, *words):
        """Runs one of the service's commands to its good end, and gives what it printed."""
        ran = subprocess.run(
            [self.binary, *words, "--data", self.data],
            env=scenario.clean_environment(self.place),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=scenario.PATIENCE,
            check=False,
        )
        if ran.returncode:
            raise AssertionError(f"{words} ended with {ran.returncode}: {ran.stderr}{ran.stdout}")
        return ran.stdout

    def host(self, name, **tags):
        """Registers a host as an operator does, and reads its identity from the files that are written for it."""
        directory = self.place / "hosts" / name
        words = [word for key, value in tags.items() for word in ("--tag", f"{key}={value}")]
        self.command("host-config", name, "--dir", directory, *self.realm, *words)
        onpremises = yaml_of(directory / "codedeploy.onpremises.yml")
        key = (onpremises["aws_access_key_id"], onpremises["aws_secret_access_key"])
        return wire.Host(onpremises["iam_user_arn"], key)

    def client(self, name, key=None, **more):
        """An AWS client of this service, by default an administrator's."""
        return sdk.client(name, self.endpoint, key or self.administrator, self.ca_file, scenario.REGION, **more)


def key_of(printed):
    """A key as `keys create --json` prints it."""
    return printed["accessKeyId"], printed["secretAccessKey"]


def yaml_of(path):
    """The scalars of a flat YAML file, which is all that the agent's files are."""
    found = re.findall(r"^:?([a-z_0-9]+):\s*(.*?)\s*$", path.read_text(), re.MULTILINE)
    return {key: value.strip("\"'") for key, value in found}
