"""A host with the agent that is tested on it."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess

from . import scenario


class TestedHost:
    """One host: its configuration, its root directory, and its agent while it runs."""

    def __init__(self, test, name, host, service, s3, settings=None, environment=None):
        self.binary = scenario.program(scenario.AGENT_VARIABLE)
        self.place = test.place
        self.home = test.place / name
        self.root = self.home / "root"
        self.config = self.home / "conf" / "codedeployagent.yml"
        self.config.parent.mkdir(parents=True)
        onpremises = self.home / "conf" / "codedeploy.onpremises.yml"
        write_private(
            onpremises,
            {
                "iam_user_arn": host.arn,
                "region": scenario.REGION,
                "aws_access_key_id": host.key[0],
                "aws_secret_access_key": host.key[1],
            },
        )
        # With AWS's leading colon here and without it there: both are read.
        write_private(
            self.config,
            {
                ":root_dir:": self.root,
                ":log_dir:": self.home / "log",
                ":program_name:": "codedeploy-agent",
                ":wait_between_runs:": 1,
                # As against AWS, whose service is not known to take them.
                "progress_updates": "off",
                "deploy_control_endpoint": service.url,
                "s3_endpoint_override": s3.url,
                "ca_bundle": test.authority.certificate,
                "on_premises_config_file": onpremises,
            }
            | (settings or {}),
        )
        self.program = test.start(name, self.binary, "run", "--config", self.config, environment=environment)

    def status(self):
        """What `status --json` says."""
        ran = self.command("status", "--json")
        return json.loads(ran.stdout)

    def command(self, *words):
        """Runs one of the agent's commands for this host."""
        return subprocess.run(
            [self.binary, *words, "--config", self.config],
            env=scenario.clean_environment(self.place),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=scenario.PATIENCE,
            check=False,
        )

    def peak_memory(self):
        """The most memory that the agent had since it was started, in bytes."""
        status = pathlib.Path(f"/proc/{self.program.process.pid}/status").read_text()
        return int(re.search(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE)[1]) << 10

    def archive(self, deployment):
        """Where a deployment's revision is unpacked."""
        return self.folder(deployment) / "deployment-archive"

    def folder(self, deployment):
        """The directory of a deployment."""
        return self.root / deployment.specification["DeploymentGroupId"] / deployment.id


def write_private(path: pathlib.Path, values):
    """Writes a mapping as YAML that only its owner can read."""
    path.touch(0o600)
    plain = {
        key: value if isinstance(value, (bool, int)) else str(value)
        for key, value in values.items()
        if value is not None
    }
    path.write_text("---\n" + "".join(f"{key.rstrip(':')}: {json.dumps(value)}\n" for key, value in plain.items()))
