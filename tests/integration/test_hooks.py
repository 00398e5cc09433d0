#!/usr/bin/python3
"""Hooks, end to end: what an external API reports to POST /hooks/{token}, and what broker and worker make of it.

The API is played here: it is asked for calls, reports of them early, late, twice, out of order, forged or never, and
counts what it is asked. Polls are an hour apart unless said otherwise, so that a call which ends was ended by its hook.
Prints TAP. B names the build; needs openssl for the signatures of fal.
"""
import base64
import hashlib
import hmac
import http.client
import http.server
import json
import os
import re
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.parse

import msgpack

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../harness"))
from heard import Heard

BUILD = os.environ.get("B", "build")
PATIENCE = int(os.environ.get("PATIENCE", "60"))
MIB = 1 << 20
PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII=")
KEY = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def equal(got, wanted):
    assert got == wanted, "%r instead of %r" % (got, wanted)


# ---- the broker, and a client of it ----

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


class Session:
    """A worker that was written in an afternoon."""

    def __init__(self, broker, subscribe=True):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(broker.rpc[len("unix:"):])
        self.unpacker = msgpack.Unpacker(raw=False, max_buffer_size=64 << 20)
        self.notices = []
        self.seen = set()
        self.broker = broker
        self.marker = None
        self.id = 0
        self.call("session.hello", subscribe=subscribe)

    def receive(self):
        for message in self.unpacker:
            return message
        data = self.socket.recv(MIB)
        assert data, "the broker closed the connection"
        self.unpacker.feed(data)
        return self.receive()

    def call(self, method, **params):
        self.id += 1
        self.socket.sendall(msgpack.packb([0, self.id, method, [params]]))
        while True:
            message = self.receive()
            if message[0] == 2:
                self.notices.append(message)
                continue
            equal(message[1], self.id)
            assert message[2] is None, message[2]
            return message[3]

    def refused(self, method, **params):
        try:
            self.call(method, **params)
        except AssertionError as refusal:
            return refusal.args[0]["code"]
        raise AssertionError("not refused")

    def wake(self):
        """The next hook that was not seen with this lease: those that wait are given again and again."""
        while True:
            while not self.notices:
                message = self.receive()
                equal(message[0], 2)
                self.notices.append(message)
            notice = self.notices.pop(0)
            equal(notice[1], "job.wake")
            wake = notice[2][0]
            key = (wake["id"], wake["lease"], wake["hook"])
            if key not in self.seen:
                self.seen.add(key)
                return wake

    def drain(self):
        """Hooks are given in the order in which they came: whatever came before this one is told with it. Its jobs."""
        if not self.marker:
            queue = "marker %d" % id(self)
            queue = queue.replace(" ", "-")
            self.broker.put(queue, {})
            self.marker = self.lease(queue)
        equal(self.broker.report(self.marker["hook_url"], os.urandom(16)), 202)
        others = []
        wake = self.wake()
        while wake["id"] != self.marker["id"]:
            others.append(wake["id"])
            wake = self.wake()
        self.call("job.woken", hook=wake["hook"], **held(self.marker))
        return others

    def nothing_more(self):
        equal(self.drain(), [])

    def forget(self):
        """From here on what is given again counts."""
        self.drain()
        self.seen.clear()

    def lease(self, queue, **params):
        jobs = self.call("job.lease", queues=[queue], wait_ms=20000, **params)["jobs"]
        equal(len(jobs), 1)
        return jobs[0]

    def close(self):
        self.socket.close()


def held(job):
    return {"id": job["id"], "lease": job["lease"]}


# ---- the broker's side: POST /hooks/{token}, job.wake, job.woken ----

class BrokersSide:
    def __init__(self, folder):
        self.broker = Broker(folder, "--public-url", "https://rain.example/some/path")
        self.session = Session(self.broker)

    def take(self, queue):
        self.broker.put(queue, {})
        return self.session.lease(queue)

    def the_url_is_below_the_public_one(self):
        job = self.take("a")
        assert re.fullmatch(r"https://rain\.example/some/path/hooks/[A-Za-z0-9_-]{48}", job["hook_url"]), job
        assert "hooks" not in job
        self.token = job["hook_url"].rsplit("/", 1)[1]
        self.job = job

    def a_hook_wakes_who_holds_the_lease(self):
        headers = {"Content-Type": "application/json", "webhook-id": "m1", "Webhook-Timestamp": "17",
                   "X-Fal-Webhook-User-Id": "u", "Luma-Signature": "abc", "Authorization": "Bearer secret",
                   "Cookie": "c", "X-Other": "o"}
        equal(self.broker.post("/hooks/" + self.token, b'{"status":"OK"}', headers)[:2], (202, b""))
        wake = self.session.wake()
        equal((wake["id"], wake["lease"], wake["hook"], wake["attempt"]), (self.job["id"], self.job["lease"], 1, 1))
        equal((wake["content_type"], wake["data"]), ("application/json", b'{"status":"OK"}'))
        equal(wake["headers"], {"webhook-id": "m1", "webhook-timestamp": "17", "x-fal-webhook-user-id": "u",
                                "luma-signature": "abc"})
        assert abs(wake["received_at_ms"] - time.time() * 1000) < 3600000, wake

    def the_same_again_is_no_other(self):
        headers = {"Content-Type": "application/json", "webhook-id": "m1", "webhook-timestamp": "18"}
        equal(self.broker.post("/hooks/" + self.token, b'{"status":"OK"}', headers)[0], 202)
        self.session.nothing_more()
        equal(self.broker.job(self.job["id"])["hooks"]["count"], 1)
        # Another id, another type, another body: three others.
        headers["webhook-id"] = "m2"
        equal(self.broker.post("/hooks/" + self.token, b'{"status":"OK"}', headers)[0], 202)
        headers["Content-Type"] = "text/plain"
        equal(self.broker.post("/hooks/" + self.token, b'{"status":"OK"}', headers)[0], 202)
        equal(self.broker.post("/hooks/" + self.token, b"", headers)[0], 202)
        equal([self.session.wake()["hook"] for _ in range(3)], [2, 3, 4])

    def what_is_done_with_is_not_given_again(self):
        equal(self.session.call("job.woken", hook=3, **held(self.job)), {})
        self.session.forget()
        self.session.call("job.extend", leases=[held(self.job)])
        equal(self.session.wake()["hook"], 4)
        self.session.nothing_more()
        equal(self.session.call("job.woken", hook=4, **held(self.job)), {})
        self.session.forget()
        self.session.call("job.extend", leases=[held(self.job)])
        self.session.nothing_more()
        hooks = self.broker.job(self.job["id"])["hooks"]
        equal((hooks["count"], hooks["waiting"]), (4, 0))
        # Nor when it is delivered once more.
        equal(self.broker.post("/hooks/" + self.token, b"", {"Content-Type": "text/plain", "webhook-id": "m2"})[0], 202)
        equal(self.broker.job(self.job["id"])["hooks"]["count"], 4)

    def only_the_holder_says_what_is_done_with(self):
        equal(self.session.refused("job.woken", id=self.job["id"], lease="00" * 16, hook=1), "lease_lost")
        equal(self.session.refused("job.woken", id=self.job["id"], lease=self.job["lease"]), "bad_request")

    def bad_tokens_are_all_alike(self):
        other = self.take("b")["hook_url"].rsplit("/", 1)[1]
        answers = set()
        for token in (self.token[:-1] + ("A" if self.token[-1] != "A" else "B"), self.token[:-1], self.token + "A",
                      self.token[:28] + other[28:], "A" * 48, "x", "%zz", "a%2Fb", "%00"):
            status, body, headers = self.broker.post("/hooks/" + token, b"{}")
            answers.add((status, body, headers["content-type"]))
        equal(len(answers), 1)
        equal(answers.pop()[0], 404)
        for path in ("/hooks", "/hooks/", "/hooks/%s/x" % self.token, "/r/" + self.token):
            assert self.broker.post(path, b"{}")[0] in (404, 405), path

    def other_methods_are_told_which(self):
        for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH"):
            for token in (self.token, "x"):
                status, _, headers = self.broker.post("/hooks/" + token, None, method=method)
                equal((method, status, headers["allow"]), (method, 405, "POST, OPTIONS"))
        status, _, headers = self.broker.post("/hooks/x", None, method="OPTIONS")
        equal((status, headers["allow"]), (204, "POST, OPTIONS"))

    def a_mebibyte_is_taken_and_no_byte_more(self):
        job = self.take("c")
        path = "/hooks/" + job["hook_url"].rsplit("/", 1)[1]
        equal(self.broker.post(path, b"x" * MIB)[0], 202)
        wake = self.session.wake()
        equal((wake["content_type"], len(wake["data"])), (None, MIB))
        for chunked in (False, True):
            connection = http.client.HTTPConnection(self.broker.http, timeout=PATIENCE)
            connection.request("POST", path, iter([b"x" * 65536] * 17) if chunked else b"x" * (MIB + 1),
                               encode_chunked=chunked)
            answer = connection.getresponse()
            equal((chunked, answer.status, json.loads(answer.read())["code"]), (chunked, 413, "too_large"))
            connection.close()
        # Whoever asks first, or has far too much to say, is told at once.
        for headers in ({"Expect": "100-continue", "Content-Length": str(MIB + 1)}, {"Content-Length": "999999999999"}):
            connection = http.client.HTTPConnection(self.broker.http, timeout=PATIENCE)
            connection.putrequest("POST", path)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            equal(connection.getresponse().status, 413)
            connection.close()
        # In pieces it is the same hook.
        connection = http.client.HTTPConnection(self.broker.http, timeout=PATIENCE)
        connection.request("POST", path, iter([b"x" * 65536] * 16), encode_chunked=True)
        equal(connection.getresponse().status, 202)
        connection.close()
        equal(self.broker.job(job["id"])["hooks"]["count"], 1)

    def proofs_beyond_the_bounds_are_left_out(self):
        """The signature says then that something is missing."""
        job = self.take("e")
        connection = http.client.HTTPConnection(self.broker.http, timeout=PATIENCE)
        connection.putrequest("POST", job["hook_url"][job["hook_url"].index("/hooks/"):])
        connection.putheader("Content-Length", "2")
        connection.putheader("Content-Type", "text/plain; x=\u00e9".encode("latin-1"))
        for name, value in (("WebHook-ID", "first"), ("webhook-id", "second"), ("SVIX-Timestamp", "17"),
                            ("Any-Signature", ""), ("-signature", "a name is missing"), ("X-Signature-Of", "no"),
                            ("svix-" + "n" * 124, "too long a name"), ("svix-" + "n" * 123, "just so"),
                            ("svix-value", "v" * 4097), ("svix-bytes", b"caf\xe9"), ("svix-tab", "a\tb"),
                            ("webhook-whole", "v" * 4096)):
            connection.putheader(name, value)
        connection.endheaders(b"{}")
        equal(connection.getresponse().status, 202)
        connection.close()
        wake = self.session.wake()
        equal(wake["headers"], {"webhook-id": "first", "svix-timestamp": "17", "any-signature": "",
                                "svix-" + "n" * 123: "just so", "webhook-whole": "v" * 4096})
        equal((wake["content_type"], wake["data"]), (None, b"{}"))

    def so_many_proofs_are_kept(self):
        job = self.take("f")
        headers = {"webhook-%02d" % i: "v" for i in range(40)}
        equal(self.broker.report(job["hook_url"], {}, headers), 202)
        equal(self.session.wake()["headers"], {"webhook-%02d" % i: "v" for i in range(16)})
        headers = {"webhook-%02d" % i: "v" * 3000 for i in range(4)}
        equal(self.broker.report(job["hook_url"], {"n": 2}, headers), 202)
        equal(sorted(self.session.wake()["headers"]), ["webhook-00", "webhook-01"])

    def one_connection_bears_many(self):
        job = self.take("d")
        connection = http.client.HTTPConnection(self.broker.http, timeout=PATIENCE)
        for n in range(20):
            connection.request("POST", urllib.parse.urlparse(job["hook_url"]).path[len("/some/path"):], b"%d" % n)
            answer = connection.getresponse()
            equal((answer.status, answer.read()), (202, b""))
        connection.close()
        # Sixteen are kept, the newest, and every one is counted.
        hooks = self.broker.job(job["id"])["hooks"]
        equal((hooks["count"], hooks["waiting"]), (20, 16))
        self.session.forget()
        self.session.call("job.extend", leases=[held(job)])
        equal([self.session.wake()["data"] for _ in range(16)], [b"%d" % n for n in range(4, 20)])
        equal(self.session.call("job.woken", hook=20, **held(job)), {})

    def it_waits_for_the_next_attempt(self):
        job = self.take("e")
        self.session.call("job.release", **held(job))
        equal(self.broker.report(job["hook_url"], {"n": 1}), 202)
        self.session.nothing_more()
        again = self.session.lease("e")
        # The lease came first.
        equal((again["id"], again["hooks"]), (job["id"], 1))
        wake = self.session.wake()
        equal((wake["lease"], wake["hook"], wake["attempt"]), (again["lease"], 1, 1))
        self.session.call("job.fail", kind="timeout", message="m", **held(again))
        again = self.session.lease("e")
        equal((again["attempt"], again["hooks"], self.session.wake()["hook"]), (2, 1, 1))
        assert again["hook_url"] != job["hook_url"]
        self.session.call("job.woken", hook=1, **held(again))
        self.session.call("job.complete", **held(again))

    def a_job_that_is_over_takes_none(self):
        job = self.take("f")
        equal(self.broker.report(job["hook_url"], {"n": 1}), 202)
        equal(self.session.wake()["hook"], 1)
        self.session.call("job.complete", **held(job))
        equal(self.broker.report(job["hook_url"], {"n": 2}), 202)
        self.session.nothing_more()
        hooks = self.broker.job(job["id"])["hooks"]
        equal((hooks["count"], hooks["waiting"]), (2, 0))
        self.broker.cli("erase", job["id"], "--yes")
        equal(self.broker.report(job["hook_url"], {"n": 3}), 202)
        self.session.nothing_more()

    def a_crowd_of_them_is_given_in_full(self):
        ids = [self.broker.put("crowd", {}) for _ in range(40)]
        jobs = self.session.call("job.lease", queues=["crowd"], max=40)["jobs"]
        equal({job["id"] for job in jobs}, set(ids))
        threads = [threading.Thread(target=self.broker.report, args=(job["hook_url"], b"c" * (200 << 10)))
                   for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wakes = [self.session.wake() for _ in jobs]
        equal({wake["id"] for wake in wakes}, set(ids))
        equal({len(wake["data"]) for wake in wakes}, {200 << 10})
        for job in jobs:
            self.session.call("job.complete", **held(job))

    def who_has_not_subscribed_hears_nothing(self):
        self.broker.put("g", {})
        quiet = Session(self.broker, subscribe=False)
        job = quiet.lease("g")
        equal(self.broker.report(job["hook_url"], {"n": 1}), 202)
        quiet.call("session.ping")
        equal(quiet.notices, [])
        # Another connection goes on with the lease, and is given what waits.
        self.session.call("job.extend", leases=[held(job)])
        equal(self.session.wake()["data"], b'{"n": 1}')
        quiet.close()

    def it_outlives_the_broker(self):
        """Killed between the 202 and the wake: whoever leases next has it, byte by byte."""
        self.broker.put("h", {})
        quiet = Session(self.broker, subscribe=False)
        job = quiet.lease("h", lease_ms=1000)
        equal(self.broker.report(job["hook_url"], b"\x00\xff" * 5000, {"webhook-signature": "v1,x"}), 202)
        self.broker.kill()
        self.broker.start()
        self.session = Session(self.broker)
        again = self.session.lease("h")
        equal((again["id"], again["hooks"]), (job["id"], 1))
        wake = self.session.wake()
        equal((wake["data"], wake["headers"]), (b"\x00\xff" * 5000, {"webhook-signature": "v1,x"}))
        # The old URL is good, and the digest is remembered.
        equal(self.broker.report(job["hook_url"], b"\x00\xff" * 5000, {"webhook-signature": "v1,y"}), 202)
        self.session.nothing_more()
        equal(self.broker.job(job["id"])["hooks"]["count"], 1)

    def a_copy_has_it_too(self):
        copy = os.path.join(self.broker.folder, "copy")
        self.broker.cli("backup", copy)
        done = subprocess.run([os.path.join(BUILD, "raincheckd"), "--check", "--data", copy], capture_output=True,
                              text=True, timeout=PATIENCE)
        equal(done.returncode, 0)
        done = subprocess.run([os.path.join(BUILD, "raincheckd"), "--compact", "--data", copy], capture_output=True,
                              text=True, timeout=PATIENCE)
        equal(done.returncode, 0)

    def it_ends_in_order(self):
        self.session.close()
        self.broker.stop()


# ---- the API ----

class Api:
    """Calls by their ids; what is asked is counted. Everything is under one lock, and changes wake whoever waits."""

    def __init__(self, files=None):
        """files: certificate and key, to be spoken to over TLS."""
        self.changed = threading.Condition()
        self.calls = []
        self.early = None  # called with the new call before its submit is answered
        self.keys = []
        self.keys_asked = 0
        self.keys_trickle = False
        self.fetches = 0
        self.holding = False  # results
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def answer(self, status, body, content_type="application/json"):
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def trickle(self):
                """A header now and then, until the peer is gone."""
                self.wfile.write(b"HTTP/1.1 200 OK\r\n")
                while not select.select([self.connection], [], [], 0.02)[0]:
                    self.wfile.write(b"X-More: yes\r\n")
                self.close_connection = True

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                call = api.submit(self, body)
                try:
                    self.answer(201, json.dumps({"id": call["id"]}).encode())
                finally:
                    api.answered(call)

            def do_GET(self):
                kind, _, id = self.path.lstrip("/").partition("/")
                if kind == "keys":
                    with api.changed:
                        api.keys_asked += 1
                    if api.keys_trickle:
                        self.trickle()
                    else:
                        self.answer(200, json.dumps({"keys": api.keys}).encode())
                elif kind == "result":
                    api.fetched()
                    self.answer(200, PNG, "image/png")
                else:
                    self.answer(200, json.dumps(api.poll(id)).encode())

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if files:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*files)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = "%s://127.0.0.1:%d" % ("https" if files else "http", self.server.server_address[1])
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def submit(self, request, body):
        query = urllib.parse.parse_qs(urllib.parse.urlparse(request.path).query)
        with self.changed:
            call = {"id": "call-%d" % (len(self.calls) + 1), "name": body.get("name"), "state": "RUNNING", "polls": 0,
                    "answered": False,
                    "hook": body.get("webhook") or request.headers.get("X-Hook") or query.get("hook", [None])[0]}
            self.calls.append(call)
        if self.early:
            self.early(call)
        return call

    def answered(self, call):
        with self.changed:
            call["answered"] = True
            self.changed.notify_all()

    def fetched(self):
        with self.changed:
            self.fetches += 1
            self.changed.notify_all()
            self.changed.wait_for(lambda: not self.holding, PATIENCE)

    def report_of(self, call):
        return {"id": call["id"], "status": call["state"], "output": [self.url + "/result/" + call["id"]]}

    def poll(self, id):
        with self.changed:
            call = next(c for c in self.calls if c["id"] == id)
            call["polls"] += 1
            self.changed.notify_all()
            return self.report_of(call)

    def wait(self, what):
        with self.changed:
            assert self.changed.wait_for(what, PATIENCE), "did not come"

    def call(self, name):
        """The call for this job, once its submit was answered; there is one."""
        self.wait(lambda: any(c["name"] == name and c["answered"] for c in self.calls))
        calls = [c for c in self.calls if c["name"] == name]
        equal(len(calls), 1)
        return calls[0]

    def finish(self, call, state="SUCCEEDED"):
        with self.changed:
            call["state"] = state


# ---- signatures ----

def standard(body, secret=KEY, at=None, id="msg_1"):
    at = int(time.time()) if at is None else at
    mac = hmac.new(secret, b"%s.%d.%s" % (id.encode(), at, body), hashlib.sha256).digest()
    return {"webhook-id": id, "webhook-timestamp": str(at),
            "webhook-signature": "v1,AAAA v1,%s" % base64.b64encode(mac).decode()}


def t_v1(body, secret=b"a plain secret", at=None):
    at = int(time.time()) if at is None else at
    mac = hmac.new(secret, b"%d.%s" % (at, body), hashlib.sha256).hexdigest()
    return {"Example-Signature": "t=%d,v1=%s,v1=%s" % (at, "0" * 64, mac)}


class FalKey:
    def __init__(self, folder, name):
        self.path = os.path.join(folder, name)
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", self.path], check=True)
        der = subprocess.run(["openssl", "pkey", "-in", self.path, "-pubout", "-outform", "DER"], check=True,
                             capture_output=True).stdout
        x = base64.urlsafe_b64encode(der[-32:]).rstrip(b"=").decode()
        self.jwk = {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": name}

    def sign(self, body):
        at = str(int(time.time()))
        message = "\n".join(["request-1", "user-1", at, hashlib.sha256(body).hexdigest()])
        with open(self.path + ".message", "w", encoding="ascii") as file:
            file.write(message)
        signature = subprocess.run(["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", self.path, "-in",
                                    self.path + ".message"], check=True, capture_output=True).stdout
        return {"X-Fal-Webhook-Request-Id": "request-1", "X-Fal-Webhook-User-Id": "user-1",
                "X-Fal-Webhook-Timestamp": at, "X-Fal-Webhook-Signature": signature.hex()}


# ---- the worker's side ----

UPSTREAM = """
  %(name)s:
    base_url: "%(url)s"
    mode: %(mode)s
    allow_private: true%(more)s
    submit:
      path: "/submit"
      body: '{"name": "{input/name}"}'
      id: /id%(submit)s
    poll: { %(path)sfirst: %(pause)s, interval: %(pause)s, max: %(pause)s, state: /status, pending: [RUNNING], ok: [SUCCEEDED], failed: [FAILED] }
    result: { from: pointer, media: /output/0, types: [image/png] }
    webhook_in: { %(hook)s }
"""


class WorkersSide:
    def __init__(self, folder):
        self.folder = folder
        self.api = Api()
        self.broker = Broker(folder)
        self.key = FalKey(folder, "key")
        self.api.keys = [{"kty": "RSA"}, self.key.jwk]
        files = [os.path.join(folder, name) for name in ("cert.pem", "key.pem")]
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-out", files[0],
                        "-keyout", files[1]], check=True, capture_output=True)
        self.over_tls = Api(files)
        self.over_tls.keys = [self.key.jwk]
        standard_hook = "inject: 'body:/webhook', verify: standard, secret: '{env.WHSEC}'"
        self.trickling = Api()
        self.trickling.keys_trickle = True
        self.shapes = {
            "poll": {"mode": "poll", "hook": "inject: 'body:/webhook'"},
            "quick": {"mode": "poll", "hook": "inject: 'query:hook'", "pause": "50ms"},
            "standard": {"mode": "webhook", "hook": standard_hook},
            "report": {"mode": "webhook", "path": "", "hook": standard_hook + ", confirm: none"},
            "t_v1": {"mode": "webhook", "hook": "inject: 'header:X-Hook', verify: hmac_t_v1, "
                                                "header: Example-Signature, secrets: [old, 'a plain secret']"},
            "fal": {"mode": "webhook", "hook": "inject: 'body:/webhook', verify: fal_ed25519, keys_url: '%s/keys'"
                                               % self.api.url},
            "fal_tls": {"mode": "webhook", "url": self.over_tls.url, "more": "\n    ca_file: " + files[0],
                        "hook": "inject: 'body:/webhook', verify: fal_ed25519, keys_url: '%s/keys'"
                                % self.over_tls.url},
            # Its limits hold for the submit, too, which on a busy machine may be answered later than that.
            "fal_slow": {"mode": "webhook", "more": "\n    timeouts: { connect: 500ms, stall: 500ms }",
                         "submit": "\n      on_unknown: retry", "url": self.trickling.url,
                         "hook": "inject: 'body:/webhook', verify: fal_ed25519, keys_url: '%s/keys'"
                                 % self.trickling.url},
        }
        self.log = Heard(PATIENCE)
        self.start_worker()

    def start_worker(self, lease="1m"):
        """A short lease is for those that are killed: on a busy machine it may be lost by a worker that lives."""
        lines = ["server: " + self.broker.rpc, "lease: " + lease, "slots: 50", "grace: 0s", "log: { level: info }",
                 "queues: { %s }" % ", ".join("%s: %s" % (name, name) for name in self.shapes), "upstreams:"]
        for name, shape in self.shapes.items():
            lines.append(UPSTREAM % {"name": name, "url": self.api.url, "path": "path: '/poll/{id}', ", "pause": "1h",
                                     "more": "", "submit": "", **shape})
        config = os.path.join(self.folder, "worker.yaml")
        with open(config, "w", encoding="ascii") as file:
            file.write("\n".join(lines))
        self.worker = self.start_heard("--config", config)

    def start_heard(self, *args, **environment):
        stderr = self.log.writer()
        try:
            return subprocess.Popen([os.path.join(BUILD, "raincheck-worker"), *args], stderr=stderr,
                                    env={**os.environ, "WHSEC": SECRET, **environment})
        finally:
            os.close(stderr)

    def kill_worker(self):
        self.worker.kill()
        self.worker.wait()

    def stop_worker(self):
        self.worker.send_signal(signal.SIGTERM)
        equal(self.worker.wait(timeout=PATIENCE), 0)

    def put(self, queue, name, **settings):
        return self.broker.put(queue, {"name": name}, **settings)

    def ends(self, id, state="succeeded"):
        job = self.broker.ended(id)
        equal(job["state"], state)
        if state == "succeeded":
            equal([a["name"] for a in job["artifacts"]], ["result"])
        return job

    def reports(self, call, headers=(), body=None):
        equal(self.broker.report(call["hook"], self.api.report_of(call) if body is None else body, headers), 202)

    def signed(self, call, sign=standard):
        body = json.dumps(self.api.report_of(call)).encode()
        self.reports(call, sign(body), body)

    # ---- in time, early, late, twice, never ----

    def a_hook_ends_an_hour_of_waiting(self):
        id = self.put("poll", "plain")
        call = self.api.call("plain")
        self.api.finish(call)
        self.reports(call)
        job = self.ends(id)
        equal((call["polls"], job["hooks"]["count"]), (1, 1))

    def one_that_comes_before_the_submits_answer_counts(self):
        def early(call):
            self.api.finish(call)
            self.reports(call)

        self.api.early = early
        ids = [self.put("poll", "early")]
        call = self.api.call("early")
        self.ends(ids[0])
        self.api.early = None
        equal(call["polls"], 1)

    def one_that_says_nothing_new_changes_nothing(self):
        id = self.put("poll", "twice")
        call = self.api.call("twice")
        self.reports(call)
        self.api.wait(lambda: call["polls"] == 1)
        self.reports(call)  # the same: no second poll
        self.api.finish(call)
        self.reports(call)
        self.ends(id)
        equal(call["polls"], 2)
        self.reports(call)  # late
        self.reports(call, body=b"later still")
        equal(self.broker.job(id)["state"], "succeeded")

    def a_lost_one_costs_time_alone(self):
        id = self.put("quick", "lost")
        call = self.api.call("lost")
        assert call["hook"], call
        self.api.wait(lambda: call["polls"] >= 2)
        self.api.finish(call)
        self.ends(id)

    # ---- proofs ----

    def forged(self, queue, sign, forgeries, word):
        id = self.put(queue, queue + " forged")
        call = self.api.call(queue + " forged")
        self.api.finish(call)
        body = json.dumps(self.api.report_of(call)).encode()
        for n, headers in enumerate(forgeries(body)):
            self.reports(call, headers, body + b" " * n)
        self.log.wait("job %s: a hook was reported that is passed over: %s" % (id, word))
        # Each was looked at.
        while self.broker.job(id)["hooks"]["waiting"] > 0:
            pass
        equal((call["polls"], self.broker.job(id)["state"]), (0, "running"))
        self.reports(call, sign(body + b"\n"), body + b"\n")
        self.ends(id)
        equal(call["polls"], 0 if queue == "report" else 1)

    def only_what_standard_webhooks_prove_is_believed(self):
        now = int(time.time())
        self.forged("standard", standard, lambda body: [
            {}, standard(body, b"another key"), standard(body, at=now - 3600), standard(body, at=now + 3600),
            standard(b"another body"), {**standard(body), "webhook-id": "msg_2"}], "there is no")

    def only_what_t_v1_proves_is_believed(self):
        self.forged("t_v1", t_v1, lambda body: [
            {"Example-Signature": "v1=00"}, t_v1(body, b"another key"), t_v1(body, at=1), t_v1(b"x")], "there is no")

    def only_what_fal_signed_is_believed(self):
        other = FalKey(self.folder, "other")
        self.forged("fal", self.key.sign, lambda body: [other.sign(body), {}, self.key.sign(b"x")], "")

    def keys_on_the_apis_own_origin_are_vouched_for_by_its_ca_file(self):
        id = self.put("fal_tls", "at home")
        call = self.over_tls.call("at home")
        self.over_tls.finish(call)
        body = json.dumps(self.over_tls.report_of(call)).encode()
        self.reports(call, self.key.sign(body), body)
        self.ends(id)
        equal(self.over_tls.keys_asked, 1)

    def keys_that_trickle_in_are_not_waited_for(self):
        id = self.put("fal_slow", "slow keys", max_attempts=100)
        self.trickling.wait(lambda: self.trickling.calls)
        call = self.trickling.calls[0]
        body = json.dumps(self.trickling.report_of(call)).encode()
        self.reports(call, self.key.sign(body), body)
        self.log.wait("the keys at %s/keys cannot be had: " % self.trickling.url)
        self.broker.cli("cancel", id)

    def a_report_that_is_proved_is_believed_at_once(self):
        def forgeries(body):
            return [{}, standard(body, b"another key")]

        self.forged("report", standard, forgeries, "there is no")

    def a_report_is_about_its_own_call(self):
        id = self.put("report", "mine")
        call = self.api.call("mine")
        for body in (json.dumps({**self.api.report_of(call), "id": "call-999", "status": "FAILED"}).encode(), b"no JSON"):
            self.reports(call, standard(body), body)
        self.log.wait("job %s: a hook was reported that is passed over: it is about another call" % id)
        equal(self.broker.job(id)["state"], "running")
        self.signed(call)  # still at work
        self.api.finish(call)
        self.signed(call)
        self.ends(id)
        equal(call["polls"], 0)

    def an_early_report_is_kept_till_the_id_is_known(self):
        def early(call):
            self.api.finish(call)
            self.signed(call)

        self.api.early = early
        id = self.put("report", "early report")
        self.ends(id)
        self.api.early = None
        self.api.call("early report")

    def a_report_of_failure_is_one(self):
        id = self.put("report", "failing", max_attempts=1)
        call = self.api.call("failing")
        self.api.finish(call, "FAILED")
        self.signed(call)
        self.ends(id, "dead")

    def out_of_order_they_change_nothing(self):
        id = self.put("standard", "order")
        call = self.api.call("order")
        first = json.dumps(self.api.report_of(call)).encode()
        self.api.finish(call)
        self.signed(call)
        self.reports(call, standard(first), first)
        self.ends(id)
        self.api.call("order")

    # ---- ends and deaths ----

    def left_to_the_next(self, end, word):
        names = ["standard", "report"]
        ids = [self.put(name, "%s %s" % (name, word)) for name in names]
        calls = [self.api.call("%s %s" % (name, word)) for name in names]
        self.saved(ids)
        end()
        for call in calls:
            self.api.finish(call)
            self.signed(call)
        self.start_worker("2s")
        for id, name in zip(ids, names):
            self.ends(id)
            self.api.call("%s %s" % (name, word))  # submitted once

    def a_worker_that_is_stopped_leaves_the_hook_to_the_next(self):
        self.left_to_the_next(self.stop_worker, "given back")

    def a_worker_that_dies_leaves_the_hook_to_the_next(self):
        self.left_to_the_next(self.kill_worker, "orphan")

    def one_that_dies_over_what_a_hook_led_to_does_too(self):
        """The report named the result, which was on its way: without the report nobody would know of it."""
        id = self.put("report", "half way")
        call = self.api.call("half way")
        self.saved([id])
        self.api.holding = True
        before = self.api.fetches
        self.api.finish(call)
        self.signed(call)
        self.api.wait(lambda: self.api.fetches > before)
        self.kill_worker()
        with self.api.changed:
            self.api.holding = False
            self.api.changed.notify_all()
        self.start_worker("2s")
        assert self.ends(id)["attempt"] >= 2
        self.api.call("half way")

    def a_broker_that_dies_keeps_what_it_took(self):
        ids = [self.put(name, name + " restart") for name in ("standard", "report")]
        calls = [self.api.call(name + " restart") for name in ("standard", "report")]
        self.saved(ids)
        self.worker.send_signal(signal.SIGSTOP)
        for call in calls:
            self.api.finish(call)
            self.signed(call)
        self.broker.kill()
        self.kill_worker()
        self.broker.start()
        self.start_worker("2s")
        for id, name in zip(ids, ("standard", "report")):
            self.ends(id)
            self.api.call(name + " restart")

    def saved(self, ids):
        """The checkpoints are there: what reports of one of them the next attempt can make something of."""
        for id in ids:
            equal(self.broker.job(id)["state"], "running")
        marker = self.put("poll", "marker %s" % ids[0])
        call = self.api.call("marker %s" % ids[0])
        self.api.finish(call)
        self.reports(call)
        self.ends(marker)

    def the_stand_in_reports_by_itself(self):
        """With the upstream file that is delivered: the next poll would be a minute away."""
        api = subprocess.Popen([os.path.join(BUILD, "render-api"), "--fake", "--no-ffmpeg"], stdout=subprocess.PIPE,
                               text=True)
        worker = None
        try:
            address = re.fullmatch(r"ready http=(\S+)\n", api.stdout.readline()).group(1)
            worker = self.start_heard("--server", self.broker.rpc, "--config",
                                      "worker/upstreams/render-api-webhook.yaml", RENDER_API="http://" + address)
            id = self.broker.put("greetings", {"name": "Ada"})
            job = self.broker.cli("wait", id)
            equal((job["state"], job["hooks"]["count"], job["attempt"]), ("succeeded", 1, 1))
            connection = http.client.HTTPConnection(address, timeout=PATIENCE)
            connection.request("GET", "/stats")
            stats = json.loads(connection.getresponse().read())
            equal((stats["submits"], stats["paid"]), (1, 1))
            connection.close()
        finally:
            api.kill()
            api.wait()
            api.stdout.close()
            assert not worker or ends_in_order(worker)

    def nothing_was_paid_twice(self):
        names = [c["name"] for c in self.api.calls]
        equal(len(names), len(set(names)))

    def it_ends_in_order(self):
        self.stop_worker()
        self.broker.stop()


class Tap:
    def __init__(self, count):
        self.number = self.failed = 0
        print("1..%d" % count)

    def run(self, name, test):
        self.number += 1
        try:
            test()
            print("ok %d - %s" % (self.number, name), flush=True)
        except Exception:
            self.failed += 1
            print("not ok %d - %s" % (self.number, name))
            print("".join("# %s\n" % line for line in traceback.format_exc().splitlines()), end="", flush=True)


def stories(kind):
    helpers = {"take", "put", "ends", "reports", "signed", "forged", "saved", "start_worker", "start_heard",
               "kill_worker", "stop_worker", "left_to_the_next"}
    return [name for name in vars(kind) if not name.startswith("_") and name not in helpers]


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


def main():
    kinds = (BrokersSide, WorkersSide)
    tap = Tap(sum(len(stories(kind)) for kind in kinds))
    folder = tempfile.mkdtemp()
    sides = []
    try:
        for kind in kinds:
            home = os.path.join(folder, kind.__name__)
            os.mkdir(home)
            sides.append(kind(home))
            for name in stories(kind):
                tap.run(name.replace("_", " "), getattr(sides[-1], name))
            if tap.failed and hasattr(sides[-1], "log"):
                sys.stdout.write(sides[-1].log.text())
    finally:
        for side in sides:
            if getattr(side, "worker", None) and not ends_in_order(side.worker):
                tap.failed += 1
            side.broker.kill()
        shutil.rmtree(folder)
    return 1 if tap.failed else 0


sys.exit(main())
