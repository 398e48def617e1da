#!/usr/bin/env python3
"""A web server with one page, which says which version it is."""

import argparse
import http.server
import os
import signal
import threading
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Read once: what is served is what was started, whatever is installed meanwhile.
VERSION = (HERE / "version").read_text().strip()
PAGE = (HERE / "page.html").read_text().replace("{version}", VERSION).encode()


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path != "/":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)


def write_pid(path):
    """The pid and the process's start time, whole or not at all."""
    stat = Path("/proc/self/stat").read_text()
    started = stat.rpartition(")")[2].split()[19]
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(f"{os.getpid()} {started}\n")
    temporary.replace(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pid-file", type=Path, required=True)
    options = parser.parse_args()
    server = http.server.ThreadingHTTPServer((options.address, options.port), Page)
    # shutdown() waits for serve_forever(), which this thread is in: hence another one.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    write_pid(options.pid_file)
    print(f"version {VERSION} listens on {options.address}:{options.port}", flush=True)
    server.serve_forever()
    print(f"version {VERSION} ends", flush=True)


if __name__ == "__main__":
    main()
