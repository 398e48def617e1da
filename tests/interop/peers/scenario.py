"""What every test stands on: a directory of its own, a certification authority, and an end without traces."""

from __future__ import annotations

import atexit
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from . import trust

# Every process of a scenario carries its directory in this variable, and so do the hooks that it starts.
PLACE_VARIABLE = "SLIPWAY_PLACE"
AGENT_VARIABLE = "SLIPWAY_AGENT"
CONTROL_VARIABLE = "SLIPWAY_CONTROL"
PATIENCE = 30
LAST_LINES = 60
REGION = "us-east-1"
ACCOUNT = "123456789012"


class Scenario(unittest.TestCase):
    """Tests that share one directory, authority and TLS certificate by class."""

    @classmethod
    def setUpClass(cls):
        cls.place = pathlib.Path(tempfile.mkdtemp(prefix="slipway-peers-")).resolve()
        # Users that hooks run as must reach their scripts.
        cls.place.chmod(0o755)
        cls.addClassCleanup(clear, cls.place)
        # The class's own cleanups do not run when the whole run is told to end.
        atexit.register(clear, cls.place)
        cls.authority = trust.Authority(cls.place / "authority")
        cls.tls = cls.authority.server("127.0.0.1", "localhost")
        cls.programs = []

    @classmethod
    def start(cls, name, *command, environment=None):
        """Starts a program of this scenario."""
        program = Program(cls.place, name, command, environment)
        cls.programs.append(program)
        cls.addClassCleanup(program.end)
        return program

    def run(self, result=None):
        before = failures(result)
        super().run(result)
        if failures(result) > before:
            for program in self.programs:
                print(program.last_words(), flush=True)

    def until(self, what, condition, seconds=PATIENCE):
        """As the function of that name."""
        return until(what, condition, seconds)


class Program:
    """A program that runs beside a test, in a process group of its own, with its output in a file."""

    def __init__(self, place, name, command, environment=None):
        self.name = name
        self.log = place / f"{name}.log"
        self.command = [str(word) for word in command]
        self.environment = clean_environment(place) | (environment or {})
        self.process = None
        self.start()

    def start(self):
        """Starts it, again where it has ended."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment,
                start_new_session=True,
            )  # fmt: skip

    def must_run(self):
        """An error with its last words if it has ended."""
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} ended with {self.process.returncode}:\n{self.last_words()}")

    def kill(self):
        """Ends it as a power cut would."""
        self.process.kill()
        self.process.wait()

    def stop(self, seconds=PATIENCE):
        """Asks it to end; gives its exit status."""
        self.process.terminate()
        return self.process.wait(seconds)

    def end(self):
        """Ends it, however it does."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.kill()

    def text(self):
        """All that it printed."""
        return self.log.read_text(errors="replace")

    def last_words(self):
        """The end of what it printed."""
        lines = self.text().splitlines()
        return "\n".join([f"--- {self.name}, {len(lines)} lines", *lines[-LAST_LINES:]])


def until(what, condition, seconds=PATIENCE):
    """Waits until `condition()` gives something true, and gives that."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain for {what}")
        time.sleep(0.02)
    return found


def program(variable):
    """The path of one of the programs that are tested; the test is skipped where it is not named."""
    path = os.environ.get(variable)
    if not path:
        raise unittest.SkipTest(f"{variable} does not name the program to test")
    if not os.access(path, os.X_OK):
        raise AssertionError(f"{variable} is {path}, which cannot be run")
    return path


def clean_environment(place):
    """The environment for a program: nothing of whoever runs the tests decides anything."""
    foreign = ("AWS_", "SSL_CERT_", "SLIPWAY_")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith(foreign) and not name.upper().endswith("_PROXY")
    }
    return kept | {PLACE_VARIABLE: str(place)}


def clear(place):
    """Ends what still runs of a scenario, by its ids, and removes its directory."""
    deadline = time.monotonic() + 10
    while found := processes(place):
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    shutil.rmtree(place, ignore_errors=True)


def processes(place):
    """The processes that carry a scenario's directory in their environment."""
    marker = f"{PLACE_VARIABLE}={place}".encode()
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            belongs = marker in (entry / "environ").read_bytes().split(b"\0")
            alive = b") Z " not in (entry / "stat").read_bytes()
        except OSError:
            continue
        if belongs and alive:
            found.append(int(entry.name))
    return found


def failures(result):
    return len(result.failures) + len(result.errors) if result else 0
