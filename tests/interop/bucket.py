"""Somebody else's S3, on a free port of this host: `bucket.py FILE` writes its URL to FILE, and serves until it is ended."""

import pathlib
import signal
import sys

from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
file = pathlib.Path(sys.argv[1])
written = file.with_suffix(".new")
written.write_text(f"http://{host}:{port}\n")
written.rename(file)
signal.pause()
