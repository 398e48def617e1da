"""Runs the checks: `python -m peers [self] [agent] [control] [-k NAME] [-q]`.

`self` needs nothing but openssl and botocore (or the AWS command line's copy of it). `agent` runs the agent
that SLIPWAY_AGENT names against the peers' service, `control` runs the service that SLIPWAY_CONTROL names
against the peers' agent. Without a word all of them run.
"""

import argparse
import pkgutil
import shutil
import signal
import sys
import unittest

from . import checks

WORDS = ("self", "agent", "control")


def main():
    arguments = argparse.ArgumentParser(prog="python -m peers", description=__doc__.splitlines()[0])
    arguments.add_argument("what", nargs="*", metavar="WHAT", help="self, agent or control; all of them if left out")
    arguments.add_argument("-k", dest="names", action="append", help="only tests whose name holds this")
    arguments.add_argument("-q", dest="quiet", action="store_true", help="no line for each test")
    given = arguments.parse_args()
    unknown = [word for word in given.what if word not in WORDS]
    if unknown:
        arguments.error(f"{unknown[0]} is none of {', '.join(WORDS)}")
    if not shutil.which("openssl"):
        print("skipped: the checks need openssl, which is not here")
        return 0
    try:
        from . import sdk
    except ImportError:
        print(f"skipped: {sys.executable} has neither botocore nor the AWS command line")
        return 0
    # Told to end, it ends what it started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    words = given.what or WORDS
    print(f"python {sys.version.split()[0]}, botocore {sdk.VERSION}: {', '.join(words)}", flush=True)
    loader = unittest.TestLoader()
    loader.testNamePatterns = [f"*{name}*" for name in given.names] if given.names else None
    names = [f"{__package__}.checks.{module}" for word in words for module in modules(word)]
    suite = loader.loadTestsFromNames(names)
    ran = unittest.TextTestRunner(sys.stdout, verbosity=1 if given.quiet else 2).run(suite)
    # A run of nothing proves nothing.
    return 0 if ran.wasSuccessful() and ran.testsRun else 1


def modules(word):
    """The modules of checks that a word stands for."""
    found = sorted(module.name for module in pkgutil.iter_modules(checks.__path__))
    return [name for name in found if name.startswith(f"test_{word}")]


sys.exit(main())
