"""What the stories about hooks have in common: a broker, and how a class of stories is run: each public method that is
none of its _helpers is one, told in TAP, in the order in which they stand.
"""
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.parse

from tap import Tap

BUILD = os.environ.get("B", "build")
PATIENCE = int(os.environ.get("PATIENCE", "60"))


def equal(got, wanted):
    assert got == wanted, "%r instead of %r" % (got, wanted)


class Broker:
    def __init__(self, folder, *more):
        self.folder = folder
        self.more = more
        self.process = None
        self.start()

    def start(self):
        command = [os.path.join(BUILD, "raincheckd"), "--data", os.path.join(self.folder, "data"),
                   "--listen", "unix:" + os.path.join(self.folder, "s"), "--http", "127.0.0.1:0", *self.more]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        ready = re.fullmatch(r"ready rpc=(\S+) http=(\S+)\n", line)
        assert ready, "instead of the ready line: %r" % line
        self.rpc, self.http = ready.groups()
        # It has the same address after a restart, as behind a proxy.
        if "--http" not in self.more:
            self.more = (*self.more, "--http", self.http)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        equal(self.process.wait(timeout=PATIENCE), 0)
        self.process.stdout.close()
        check = subprocess.run([os.path.join(BUILD, "raincheckd"), "--check", "--data",
                                os.path.join(self.folder, "data")], capture_output=True, text=True, timeout=PATIENCE)
        equal((check.returncode, check.stderr if check.returncode else ""), (0, ""))

    def cli(self, *args):
        done = subprocess.run([os.path.join(BUILD, "raincheck"), "--server", self.rpc, "--json", *args],
                              capture_output=True, text=True, timeout=PATIENCE)
        equal((done.returncode, done.stderr), (0, ""))
        return json.loads(done.stdout)

    def put(self, queue, payload, **settings):
        sets = [part for key, value in settings.items() for part in ("--set", "%s=%s" % (key, value))]
        return self.cli("put", "-q", queue, "--data", json.dumps(payload), *sets)["id"]

    def job(self, id):
        return self.cli("get", id)

    def ended(self, id):
        done = subprocess.run([os.path.join(BUILD, "raincheck"), "--server", self.rpc, "--json", "wait", id],
                              capture_output=True, text=True, timeout=PATIENCE)
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def post(self, path, body=b"", headers=(), method="POST"):
        connection = http.client.HTTPConnection(self.http, timeout=PATIENCE)
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, text, dict((k.lower(), v) for k, v in answer.getheaders())

    def report(self, url, body, headers=()):
        """To a hook's URL, wherever it says that the broker is."""
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        path = urllib.parse.urlparse(url).path
        return self.post(path[path.index("/hooks/"):], body, {"Content-Type": "application/json", **dict(headers)})[0]


def stories(kind):
    return [name for name in vars(kind) if not name.startswith("_") and name not in kind._helpers]


def ends_in_order(process):
    """So that a sanitizer can say what it has found. Each further signal lets it wait for less."""
    for _ in range(PATIENCE):
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=1)
            break
        except subprocess.TimeoutExpired:
            continue
    if process.poll() is None:
        process.kill()
    if process.wait() != 0:
        print("# the worker ended with status %d" % process.returncode)
    return process.returncode == 0


def run(kind):
    """The exit status. A side has its broker in .broker, and a worker, where it has one, in .worker, heard by .log."""
    names = stories(kind)
    tap = Tap(len(names))
    folder = tempfile.mkdtemp()
    side = None
    try:
        side = kind(folder)
        for name in names:
            tap.run(name.replace("_", " "), getattr(side, name))
        if tap.failed and hasattr(side, "log"):
            sys.stdout.write(side.log.text())
    finally:
        if getattr(side, "worker", None) and not ends_in_order(side.worker):
            tap.failed += 1
        if side:
            side.broker.kill()
        shutil.rmtree(folder)
    return 1 if tap.failed else 0
