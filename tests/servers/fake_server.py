"""A server for tests of starting: HTTP in the standard library, and ways to go wrong. Run as a module."""

import argparse
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

sys.stdout.write(f"imported {os.getpid()}\n")
sys.stdout.flush()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{os.getpid()} {os.environ.get('FAKE', '')}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--die", action="store_true")
    parser.add_argument("--never", action="store_true")
    parser.add_argument("--deaf", action="store_true")
    parser.add_argument("--engine")
    parser.add_argument("--wait-for")
    arguments, _ = parser.parse_known_args()
    if arguments.wait_for and not os.path.exists(arguments.wait_for):
        sys.exit(f"{arguments.wait_for} is not there yet")
    if arguments.die:
        raise RuntimeError("no memory left for the model")
    if arguments.never:
        time.sleep(1000)
    if arguments.deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if arguments.engine:
        engine = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
        with open(arguments.engine, "w") as file:
            file.write(str(engine.pid))
    ThreadingHTTPServer(("127.0.0.1", arguments.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
