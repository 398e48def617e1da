"""The tested agent, and what a service may do with its commands."""

from __future__ import annotations

import itertools

from .against_agent import AgainstAgent


class Acknowledgements(AgainstAgent):
    """Every answer to an acknowledgement, from a service that answers polls at once."""

    HOLD = 0.0

    def prepared(self, hooks):
        deployment = self.deployment(self.put(self.revision(hooks)))
        self.assert_succeeded(deployment.run(("DownloadBundle",)))
        return deployment

    def settle(self):
        """Waits until the agent has done all that it had to do: it polls again, twice."""
        polls = len(self.service.polls[self.host.arn])
        self.service.wait("two more polls", lambda: len(self.service.polls[self.host.arn]) > polls + 1)

    def test_answers_to_a_command_with_scripts(self):
        for answer, runs in ((None, True), ("InProgress", True), ("Succeeded", False), ("Failed", False)):
            with self.subTest(answer):
                deployment = self.prepared({"BeforeInstall": self.note(answer)})
                command = deployment.send("BeforeInstall", answer=answer)
                deployment.await_end(command)
                self.settle()
                self.assertEqual([c.status for c in command.completions], ["Succeeded"] if runs else [])
                self.assertEqual(self.noted().count(str(answer)), int(runs))
                self.assertEqual(command.acknowledgements, [False])

    def test_answers_to_a_no_op(self):
        for answer, message in (
            (None, ""),
            ("InProgress", ""),
            ("Succeeded", None),
            ("Failed", "CompletedNoopCommand"),
        ):
            with self.subTest(answer):
                deployment = self.prepared({})
                command = deployment.send("BeforeInstall", answer=answer)
                self.service.wait("the acknowledgement", lambda c=command: c.acknowledgements)
                self.settle()
                self.assertEqual(command.acknowledgements, [True])
                self.assertEqual([c.status for c in command.completions], [] if message is None else ["Succeeded"])
                if message:
                    self.assertEqual(command.completion.message, f"Succeeded: {message}")
                    self.assertEqual(command.completion.code, 0)

    def test_a_command_offered_again_is_answered_again_and_not_run_again(self):
        for lines, status in (("echo once; exit 9", "Failed"), ("echo once", "Succeeded")):
            with self.subTest(status):
                deployment = self.prepared({"BeforeInstall": f"{self.note(status)}; {lines}"})
                command = deployment.send("BeforeInstall")
                deployment.await_end(command)
                self.settle()
                self.assertEqual([c.status for c in command.completions], [status])
                self.service.offer_again(command)
                deployment.await_end(command)
                self.settle()
                self.assertEqual([c.status for c in command.completions], [status, status])
                self.assertEqual(command.completions[0].payload, command.completions[1].payload)
                self.assertEqual(self.noted().count(status), 1)

    def test_polls_keep_their_distance(self):
        self.settle()
        polls = self.service.polls[self.host.arn]
        start = len(polls)
        self.service.wait("five polls", lambda: len(polls) >= start + 5)
        gaps = [after - before for before, after in itertools.pairwise(polls[start:])]
        for gap in gaps:
            self.assertGreater(gap, 0.75, f"wait_between_runs is 1 s, and the gaps are {gaps}")
            self.assertLess(gap, 2.5, f"wait_between_runs is 1 s, and the gaps are {gaps}")


class Together(AgainstAgent):
    """A service that offers a host more than one command at a time."""

    def setUp(self):
        super().setUp()
        self.service.concurrent = True
        self.gate = self.place / f"gate-{self.group}"

    def waiting(self, word):
        """Lines of a script that waits for the gate."""
        return f"{self.note(word)}; while [ ! -e {self.gate} ]; do sleep 0.05; done; {self.note('end-' + word)}"

    def test_groups_run_beside_each_other(self):
        pairs = []
        for n in range(2):
            files = self.revision({"BeforeInstall": self.waiting(f"group-{n}")})
            deployment = self.deployment(self.put(files), DeploymentGroupId=f"{self.group}-{n}")
            self.assert_succeeded(deployment.run(("DownloadBundle",)))
            pairs.append((deployment, deployment.send("BeforeInstall")))
        self.until("both scripts at once", lambda: set(self.noted()) >= {"group-0", "group-1"})
        self.gate.touch()
        for deployment, command in pairs:
            deployment.await_end(command)
            self.assert_succeeded(deployment)

    def test_a_group_is_serial(self):
        first, second = (
            self.deployment(self.put(self.revision({"BeforeInstall": self.waiting(word)}))) for word in ("one", "two")
        )
        self.assert_succeeded(first.run(("DownloadBundle",)))
        self.assert_succeeded(second.run(("DownloadBundle",)))
        one = first.send("BeforeInstall")
        self.until("the first script", self.noted)
        two = second.send("BeforeInstall")
        self.service.wait("the second offer or its acknowledgement", lambda: two.offers)
        self.gate.touch()
        first.await_end(one)
        second.await_end(two)
        self.assertEqual(self.noted(), ["one", "end-one", "two", "end-two"])

    def test_a_command_offered_again_while_it_runs_is_run_once(self):
        deployment = self.deployment(self.put(self.revision({"BeforeInstall": self.waiting("ran")})))
        self.assert_succeeded(deployment.run(("DownloadBundle",)))
        command = deployment.send("BeforeInstall")
        self.until("the script", self.noted)
        self.service.offer_again(command)
        self.service.wait("the second offer", lambda: command.offers == 2)
        polls = len(self.service.polls[self.host.arn])
        self.service.wait("another poll", lambda: len(self.service.polls[self.host.arn]) > polls)
        self.gate.touch()
        self.service.wait("the completion", lambda: command.completions)
        self.assertEqual({c.status for c in command.completions}, {"Succeeded"})
        self.assertEqual(self.noted(), ["ran", "end-ran"])

    def test_an_agent_that_is_killed_while_a_script_runs(self):
        deployment = self.deployment(self.put(self.revision({"BeforeInstall": self.waiting("ran")})))
        self.assert_succeeded(deployment.run(("DownloadBundle",)))
        command = deployment.send("BeforeInstall")
        self.until("the script", self.noted)
        self.tested.program.kill()
        # Nobody reads the polls that the agent left; what is offered to them is offered to nobody.
        self.service.wait("the end of its polls", lambda: not self.service.held[self.host.arn])
        self.tested.program.start()
        if not self.service.changed_within(lambda: command.completions, 10):
            # The script outlived its agent; then its true result is what counts.
            self.gate.touch()
        deployment.await_end(command)
        said = command.completion
        if said.status == "Succeeded":
            self.assertEqual(self.noted(), ["ran", "end-ran"])
        else:
            self.assertEqual((said.code, self.noted()), (7, ["ran"]))
            self.assertIn("scripts/BeforeInstall.sh", said.message + said.script)
        self.assertEqual(len(command.completions), 1)
