"""The tested agent, and a service that fails."""

from __future__ import annotations

import json
import re
import time

from .. import listener, service, wire
from .against_agent import AgainstAgent


class Weather(AgainstAgent):
    """A service that fails, throttles, loses answers, is away, and comes back."""

    def prepared(self, lines):
        deployment = self.deployment(self.put(self.revision({"BeforeInstall": lines})))
        self.assert_succeeded(deployment.run(("DownloadBundle",)))
        return deployment

    def test_faults_of_every_operation_pass(self):
        for operation in wire.REQUESTS:
            for name, faults in {
                "500 thrice": [wire.BROKEN] * 3,
                "throttled": [wire.THROTTLED],
                "429": [wire.TOO_MANY],
                "503 in HTML": [wire.UNAVAILABLE],
            }.items():
                with self.subTest(operation=operation, faults=name):
                    deployment = self.prepared(self.note(f"{operation}-{name}"))
                    self.service.fail_next(operation, *faults)
                    if operation == "PollHostCommand":
                        # A poll that is held already would bring the command past them.
                        self.service.wait("the faults", lambda: not self.service.faults["PollHostCommand"], 90)
                    command = deployment.send("BeforeInstall")
                    deployment.await_end(command, 90)
                    self.assertEqual(command.completion.status, "Succeeded", command.completion)
                    self.assertEqual(self.service.faults[operation], [])
                    self.assertEqual(len([n for n in self.noted() if n == f"{operation}-{name}"]), 1)

    def test_lost_answers_do_no_harm(self):
        for operation in ("GetDeploymentSpecification", "PutHostCommandAcknowledgement", "PutHostCommandComplete"):
            with self.subTest(operation):
                deployment = self.prepared(self.note(operation))
                self.service.fail_next(operation, service.LOST)
                command = deployment.send("BeforeInstall")
                wanted = 2 if operation == "PutHostCommandComplete" else 1
                self.service.wait("the completion", lambda c=command, n=wanted: len(c.completions) >= n, 90)
                self.assertEqual({c.payload for c in command.completions}, {command.completion.payload})
                self.assertEqual(command.completion.status, "Succeeded")
                self.assertEqual(self.noted().count(operation), 1)

    def test_client_exceptions_are_final(self):
        for operation in ("GetDeploymentSpecification", "PutHostCommandAcknowledgement"):
            for fault in (wire.CLIENT, wire.NAMESPACED):
                with self.subTest(operation):
                    deployment = self.prepared(self.note("ran"))
                    self.service.fail_next(operation, fault)
                    command = deployment.send("BeforeInstall")
                    deployment.await_end(command)
                    self.assertEqual((command.completion.status, command.completion.code), ("Failed", 5))
                    self.assertEqual(self.noted(), [])

    def test_completion_that_the_service_cannot_take(self):
        noise = "i=0; while [ $i -lt 99 ]; do echo line $i; i=$((i+1)); done; exit 1"
        deployment = self.prepared(noise)
        self.service.fail_next("PutHostCommandComplete", wire.CLIENT)
        command = deployment.send("BeforeInstall")
        deployment.await_end(command)
        self.assertEqual((command.completion.status, command.completion.code), ("Failed", 4))
        self.assertEqual(command.completion.log, "", "the second try is with minimal diagnostics")
        deployment = self.prepared(noise)
        self.service.fail_next("PutHostCommandComplete", wire.CLIENT, wire.CLIENT)
        lost = deployment.send("BeforeInstall")
        self.service.wait("both refusals", lambda: not self.service.faults["PutHostCommandComplete"])
        lost.ended = True
        self.prepared("true")
        self.assertEqual(lost.completions, [], "a third try after two refusals")

    def test_answers_that_make_no_sense(self):
        deep = b'{"HostCommand":' * 5000 + b"1" + b"}" * 5000
        command = {
            "HostCommandIdentifier": "sense",
            "HostIdentifier": self.host.arn,
            "DeploymentExecutionId": "a/b/c/d",
            "CommandName": "Install",
        }
        answers = [b"", b"[]", b"5", b"null", b"\xff\xfe", b'{"HostCommand": 5}', b'{"HostCommand": {}}', deep]
        answers += [json.dumps({"HostCommand": command | {name: None}}).encode() for name in command]
        answers += [json.dumps({"HostCommand": command | {name: 7}}).encode() for name in command]
        answers += [json.dumps({"HostCommand": command | {"CommandName": "x" * 500_000}}).encode()]
        self.service.fail_next("PollHostCommand", *(listener.Response(200, {}, answer) for answer in answers))
        # Each of them may be followed by a pause, of up to 90 s in the end; what counts is that it goes on.
        self.service.wait("a few of them", lambda: len(self.service.faults["PollHostCommand"]) < len(answers) - 5, 120)
        self.service.faults["PollHostCommand"].clear()
        # Reports for commands that the service never had are all that may have come of it.
        self.service.deviations = [
            d for d in self.service.deviations if "has no command" not in d and "a/b/c/d" not in d
        ]
        for operation, answer in (
            ("GetDeploymentSpecification", b"{}"),
            ("GetDeploymentSpecification", b'{"DeploymentSystem":"CodeDeploy","DeploymentSpecification":null}'),
            ("GetDeploymentSpecification", b"not JSON"),
            ("PutHostCommandAcknowledgement", b'{"CommandStatus":"Perhaps"}'),
            ("PutHostCommandAcknowledgement", b"not JSON"),
        ):
            with self.subTest(operation=operation, answer=answer):
                deployment = self.prepared("true")
                self.service.fail_next(operation, listener.Response(200, {}, answer))
                sent = deployment.send("BeforeInstall")
                deployment.await_end(sent, 90)
                self.assertIn(sent.completion.status, ("Succeeded", "Failed"))

    def test_answers_without_end(self):
        endless = listener.Response(200, {"Content-Type": wire.CONTENT_TYPE}, b" " * (100 << 20))
        for operation in ("PollHostCommand", "GetDeploymentSpecification", "PutHostCommandComplete"):
            with self.subTest(operation):
                deployment = self.prepared("true")
                self.service.fail_next(operation, endless)
                command = deployment.send("BeforeInstall")
                deployment.await_end(command, 90)
        self.assertLess(self.tested.peak_memory(), 64 << 20)

    def test_a_service_that_goes_away_and_an_agent_that_is_killed(self):
        gate = self.place / f"gate-{self.group}"
        deployment = self.prepared(f"{self.note('ran')}; while [ ! -e {gate} ]; do sleep 0.05; done")
        command = deployment.send("BeforeInstall")
        self.until("the script to run", self.noted)
        self.service.stop()
        ended = re.compile(r'event="BeforeInstall"[^\n]*: ended')
        ends = lambda: len(ended.findall(self.tested.program.text()))  # noqa: E731
        before = ends()
        gate.touch()
        self.until("the end of the script", lambda: ends() > before)
        self.tested.program.kill()
        self.service.start()
        self.tested.program.start()
        deployment.await_end(command, 60)
        self.assertEqual((command.completion.status, command.completion.code), ("Succeeded", 0), command.completion)
        self.assertEqual(self.noted(), ["ran"])

    def test_a_poll_that_is_held_brings_work_at_once(self):
        self.service.hold = 15
        self.addCleanup(setattr, self.service, "hold", self.HOLD)
        deployment = self.prepared(self.note("ran"))
        self.service.wait("a poll that is held", lambda: self.service.held[self.host.arn], 5)
        started = time.monotonic()
        command = deployment.send("BeforeInstall")
        deployment.await_end(command)
        self.assertLess(time.monotonic() - started, 3)
        # A daemon that is told to end does not wait for the poll.
        self.assertEqual(self.tested.program.stop(10), 0)
        self.service.hold = 0.0
        # The service has not seen that nobody waits any more, and would give the next command to nobody.
        self.service.wait("the end of the poll", lambda: not self.service.held[self.host.arn], 20)
        self.tested.program.start()
        self.prepared("true")
