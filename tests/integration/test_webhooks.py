#!/usr/bin/python3
"""Webhooks, end to end: a job ends, and whoever put it is told: by the broker's outbox and the worker's delivery, to a
receiver that proves each request with the npm package standardwebhooks (tests/webhooks). Needs openssl for a certificate.

Attempts that fail are hours apart by the schedule: job.redeliver makes the next one now. Prints TAP. B names the build.
"""
import http.client
import http.server
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import urllib.parse

import msgpack

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../harness"))
from heard import Heard
from tap import Tap

BUILD = os.environ.get("B", "build")
PATIENCE = int(os.environ.get("PATIENCE", "60"))
NODE = os.path.join(HERE, "../../build/npm/webhooks")
SECRETS = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2Vjb25kIHNlY3JldCBmb3Igcm90YXRpb24="]
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
FINAL = ("succeeded", "dead", "canceled", "expired")


def equal(got, wanted):
    assert got == wanted, "%r instead of %r" % (got, wanted)


class Receiver:
    def __init__(self):
        self.process = subprocess.Popen(["node", os.path.join(NODE, "receiver.js"), *SECRETS],
                                        stdout=subprocess.PIPE, text=True)
        self.url = "http://127.0.0.1:%d" % int(self.process.stdout.readline())
        self.changed = threading.Condition()
        self.requests = []
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            with self.changed:
                self.requests.append(json.loads(line))
                self.changed.notify_all()

    def of(self, path):
        return [r for r in self.requests if r["path"] == path]

    def wait(self, path, count=1):
        """So many requests to the path, once they are there: no more have come."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.of(path)) >= count, PATIENCE), "no webhook came to " + path
            equal(len(self.of(path)), count)
            return self.of(path)


class Played:
    """A server of a test's own, which notes who asked for what. Told of another's port it is a proxy to there."""

    def __init__(self, ahead=None, files=None):
        self.seen = []
        played = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                played.seen.append((self.client_address[0], self.path))
                status = 204
                if ahead:
                    onward = http.client.HTTPConnection("127.0.0.1", ahead, timeout=PATIENCE)
                    onward.request("POST", urllib.parse.urlparse(self.path).path, body, dict(self.headers))
                    status = onward.getresponse().status
                    onward.close()
                self.send_response(status)
                self.end_headers()

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if files:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*files)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Side:
    def __init__(self, folder):
        self.folder = folder
        self.receiver = Receiver()
        self.numbers = 0
        # The same port after each kill, and nobody else's meanwhile: bound, and not listened on.
        self.port = socket.socket()
        self.port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.port.bind(("127.0.0.1", 0))
        self.http = "127.0.0.1:%d" % self.port.getsockname()[1]
        self.worker = None
        self.log = Heard(PATIENCE)
        self.start_broker()
        self.start_worker()

    # ---- the programs ----

    def start_broker(self):
        self.broker = subprocess.Popen(
            [os.path.join(BUILD, "raincheckd"), "--data", os.path.join(self.folder, "data"), "--listen",
             "unix:" + os.path.join(self.folder, "s"), "--http", self.http], stdout=subprocess.PIPE, text=True)
        line = self.broker.stdout.readline()
        ready = re.fullmatch(r"ready rpc=(\S+) http=(\S+)\n", line)
        assert ready, "instead of the ready line: %r" % line
        self.rpc, self.http = ready.groups()

    def kill_broker(self):
        self.broker.kill()
        self.broker.wait()
        self.broker.stdout.close()

    def write_config(self, webhooks):
        config = os.path.join(self.folder, "worker.yaml")
        with open(config, "w", encoding="ascii") as file:
            file.write("server: %s\nlease: 1s\nlog: { level: info }\nwebhooks: { %s }\n" % (self.rpc, webhooks))
            file.write("queues: { unused: up }\n")
            file.write("upstreams: { up: { base_url: 'http://127.0.0.1:1', mode: sync, submit: { path: /x } } }\n")
        return config

    def start_worker(self, webhooks="secrets: ['{env.WHSEC}'], allow_private: true"):
        self.kill_worker()  # one that a story left behind when it failed
        stderr = self.log.writer()
        try:
            self.worker = subprocess.Popen([os.path.join(BUILD, "raincheck-worker"), "--config",
                                            self.write_config(webhooks)], stderr=stderr,
                                           env={**os.environ, "WHSEC": SECRETS[0], "WHSEC2": SECRETS[1]},
                                           stdout=subprocess.DEVNULL)
        finally:
            os.close(stderr)

    def kill_worker(self, how=signal.SIGKILL):
        if self.worker:
            self.worker.send_signal(how)
            equal(self.worker.wait(timeout=PATIENCE), 0 if how == signal.SIGTERM else -how)
        self.worker = None

    def close(self):
        for process in (self.worker, self.broker, self.receiver.process):
            if process and process.poll() is None:
                process.kill()
                process.wait()

    # ---- what is asked of them ----

    def cli(self, *args):
        done = subprocess.run([os.path.join(BUILD, "raincheck"), "--server", self.rpc, "--json", *args],
                              capture_output=True, text=True, timeout=PATIENCE)
        equal((done.returncode, done.stderr), (0, ""))
        return json.loads(done.stdout) if done.stdout.strip() else None

    def call(self, method, **params):
        """As a worker does that was written in an afternoon."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(PATIENCE)
            s.connect(self.rpc[len("unix:"):])
            s.sendall(msgpack.packb([0, 0, "session.hello", [{}]]) + msgpack.packb([0, 1, method, [params]]))
            unpacker = msgpack.Unpacker(raw=False)
            while True:
                unpacker.feed(s.recv(65536))
                for answer in unpacker:
                    assert answer[2] is None, answer[2]
                    if answer[1] == 1:
                        return answer[3]

    def put(self, answers, **settings):
        """A job, and the path that is told of it, where answers are given one after the other."""
        self.numbers += 1
        path = "/%d/%s" % (self.numbers, answers)
        settings = {"callback_url": self.receiver.url + path, "traceparent": TRACE, **settings}
        sets = [part for key, value in settings.items() for part in ("--set", "%s=%s" % (key, value))]
        return self.cli("put", "-q", "films", "--data", "{}", *sets)["id"], path

    def canceled(self, answers):
        id, path = self.put(answers)
        self.cli("cancel", id)
        return id, path

    def delivery(self, id, state, attempts=1):
        """The delivery's record, once it has come to that state; to be tried again: after so many attempts."""
        id = self.cli("get", id)["callback"]["id"]
        if state in FINAL:
            self.call("job.wait", id=id, wait_ms=60000)
        else:
            # The line is written when the broker has answered: its record is the new one by then.
            self.log.wait("call ended", id, times=attempts)
        told = self.cli("get", id)
        equal(told["state"], state)
        return told

    def proved(self, request, by=(True, False)):
        equal(request["by"], list(by))
        return json.loads(request["body"])

    # ---- stories ----

    def every_end_is_told(self):
        for state in FINAL:
            id, path = self.put("204", **({"deadline_ms": 1} if state == "expired" else {}))
            if state in ("succeeded", "dead"):
                job = self.call("job.lease", queues=["films"], wait_ms=20000)["jobs"][0]
                equal(job["id"], id)
                held = {"id": id, "lease": job["lease"]}
                if state == "dead":
                    self.call("job.fail", kind="rejected", message="no such face", **held)
                else:
                    self.call("job.complete", **held)
            elif state == "canceled":
                self.cli("cancel", id)
            request, = self.receiver.wait(path)
            body = self.proved(request)
            equal((body["type"], body["data"]["id"], body["data"]["state"]), ("job." + state, id, state))
            equal(request["method"], "POST")
            told = self.delivery(id, "succeeded")
            equal((request["id"], told["attempt"]), (told["id"], 1))
            headers = request["headers"]
            equal((headers["content-type"], headers["traceparent"]), ("application/json", TRACE))
            assert headers["user-agent"].lower().startswith("raincheck"), headers
            assert "authorization" not in headers and "cookie" not in headers, headers

    def a_failure_is_tried_again_with_the_same_id(self):
        id, path = self.canceled("503,500,204")
        told = self.delivery(id, "scheduled")
        assert 5000 <= told["run_at_ms"] - told["error"]["at_ms"] <= 5500, told
        equal((told["error"]["kind"], "503" in told["error"]["message"]), ("unavailable", True))
        self.cli("redeliver", id)
        self.receiver.wait(path, 2)
        told = self.delivery(id, "scheduled", attempts=2)
        assert 300000 <= told["run_at_ms"] - told["error"]["at_ms"] <= 330000, told
        self.cli("redeliver", id)
        requests = self.receiver.wait(path, 3)
        equal(self.delivery(id, "succeeded")["attempt"], 3)
        equal(len({r["id"] for r in requests}), 1)
        equal(len({r["body"] for r in requests}), 1)
        for request in requests:
            self.proved(request)

    def it_comes_back_by_itself(self):
        id, path = self.canceled("500,204")
        self.receiver.wait(path, 2)
        equal(self.delivery(id, "succeeded")["attempt"], 2)

    def the_receiver_may_ask_for_more_time(self):
        for answer, least, most in (("429;retry-after:3600", 3600, 3600), ("503;retry-after:1", 5, 5.5),
                                    ("503;retry-after:999999", 86400, 86400)):
            id, path = self.canceled(answer)
            self.receiver.wait(path)
            told = self.delivery(id, "scheduled")
            pause = told["run_at_ms"] - told["error"]["at_ms"]
            assert least * 1000 - 1000 <= pause <= most * 1000, (answer, pause)

    def one_that_is_gone_is_left_alone(self):
        id, path = self.canceled("410")
        told = self.delivery(id, "dead")
        equal((told["attempt"], told["error"]["kind"]), (1, "rejected"))
        equal(told["error"]["message"], "the receiver is gone (410)")
        self.receiver.wait(path)

    def a_redirect_is_no_delivery(self):
        for status in (301, 302, 307, 308, 304):
            id, path = self.canceled("%d;location:204" % status)
            told = self.delivery(id, "scheduled")
            equal(told["error"]["kind"], "unavailable")
            assert "redirects are not followed" in told["error"]["message"], told
            self.receiver.wait(path)
            equal(self.receiver.of("/%d/204" % self.numbers), [])

    def a_long_answer_is_one(self):
        id, path = self.canceled("200")
        self.receiver.wait(path)
        equal(self.delivery(id, "succeeded")["attempt"], 1)

    def it_can_be_told_again(self):
        id, path = self.canceled("204")
        self.receiver.wait(path)
        self.delivery(id, "succeeded")
        self.cli("redeliver", id)
        first, second = self.receiver.wait(path, 2)
        equal((first["id"], first["body"]), (second["id"], second["body"]))
        self.delivery(id, "succeeded")

    def a_worker_that_dies_leaves_it_to_the_next(self):
        id, path = self.canceled("hold,204")
        self.receiver.wait(path)
        self.kill_worker()
        self.start_worker()
        first, second = self.receiver.wait(path, 2)
        equal(first["id"], second["id"])
        self.proved(second)
        equal(self.delivery(id, "succeeded")["attempt"], 2)

    def a_broker_that_dies_has_not_forgotten(self):
        self.kill_worker(signal.SIGTERM)
        id, path = self.canceled("204")
        self.kill_broker()
        self.start_broker()
        self.start_worker()
        request, = self.receiver.wait(path)
        equal(self.proved(request)["type"], "job.canceled")
        equal(self.delivery(id, "succeeded")["attempt"], 1)

    def a_broker_that_dies_knows_what_was_tried(self):
        failed, again = self.canceled("503;retry-after:3600,204")
        before = self.delivery(failed, "scheduled")
        gone, once = self.canceled("410,204")
        self.delivery(gone, "dead")
        waits, held = self.canceled("hold,204")
        self.receiver.wait(held)
        self.kill_broker()
        self.start_broker()
        # The worker that was telling it is alive, and its lease is over: somebody tells it again.
        first, second = self.receiver.wait(held, 2)
        equal((first["id"], first["body"]), (second["id"], second["body"]))
        equal(self.delivery(waits, "succeeded")["attempt"], 2)
        after = self.delivery(failed, "scheduled")
        for key in ("id", "attempt", "run_at_ms", "error"):
            equal(after[key], before[key])
        self.cli("redeliver", failed)
        first, second = self.receiver.wait(again, 2)
        equal((first["id"], first["body"]), (second["id"], second["body"]))
        equal(self.delivery(failed, "succeeded")["attempt"], 2)
        told = self.delivery(gone, "dead")
        equal((told["attempt"], told["error"]["message"]), (1, "the receiver is gone (410)"))
        equal(len(self.receiver.wait(once)), 1)

    def of_an_erased_job_nobody_is_told(self):
        self.kill_worker(signal.SIGTERM)
        id, path = self.canceled("204")
        equal([j["state"] for j in self.cli("ls", "-q", "_webhooks", "--state", "ready")], ["ready"])
        self.cli("erase", id, "--yes")
        other, after = self.canceled("204")
        self.start_worker()
        self.receiver.wait(after)
        self.delivery(other, "succeeded")
        equal(self.receiver.of(path), [])

    # ---- other files ----

    def both_secrets_sign_while_one_is_replaced(self):
        self.write_config("secrets: ['{env.WHSEC}', '{env.WHSEC2}'], allow_private: true")
        self.worker.send_signal(signal.SIGHUP)
        self.log.wait("was read again")
        id, path = self.canceled("204")
        request, = self.receiver.wait(path)
        self.proved(request, (True, True))
        equal(len(request["headers"]["webhook-signature"].split(" ")), 2)
        self.delivery(id, "succeeded")
        self.kill_worker(signal.SIGTERM)

    def what_is_not_answered_in_time_is_tried_again(self):
        self.start_worker("secrets: ['{env.WHSEC}'], allow_private: true, timeout: 300ms")
        id, path = self.canceled("hold")
        told = self.delivery(id, "scheduled")
        equal((told["error"]["kind"], told["error"]["message"]), ("timeout", "the webhook was not answered in time"))
        assert told["run_at_ms"] - told["error"]["at_ms"] >= 5000, told
        self.receiver.wait(path)
        self.kill_worker(signal.SIGTERM)

    def addresses_that_are_not_public_are_refused(self):
        self.start_worker("secrets: ['{env.WHSEC}']")
        ids = [self.canceled("204")]
        self.numbers += 1
        path = "/%d/204" % self.numbers
        port = self.receiver.url.rsplit(":", 1)[1]
        for host in ("localhost", "[::ffff:127.0.0.1]", "2130706433"):
            id, _ = self.put("204", callback_url="http://%s:%s%s" % (host, port, path))
            self.cli("cancel", id)
            ids.append((id, path))
        for id, _ in ids:
            told = self.delivery(id, "dead")
            equal(told["error"]["kind"], "rejected")
            assert "webhooks.allow_private" in told["error"]["message"], told
        for _, path in ids:
            equal(self.receiver.of(path), [])
        self.kill_worker(signal.SIGTERM)

    def they_go_out_by_a_proxy_and_an_interface(self):
        """The proxy resolves names; an address that is not public is not asked of it."""
        port = int(self.receiver.url.rsplit(":", 1)[1])
        proxy = Played(ahead=port)
        try:
            self.start_worker("secrets: ['{env.WHSEC}'], proxy: 'http://127.0.0.1:%d', interface: 127.0.0.2"
                              % proxy.port)
            refused = [self.canceled("204")]
            for host in ("localhost", "[::1]", "2130706433", "10.0.0.1", "%32130706433", "%31%32%37.1", "127.0.0.1.",
                         "%30x7f000001", "localhos%74.", "[::ffff:10.0.0.1]"):
                id, path = self.put("204", callback_url="http://%s:%d/x/204" % (host, port))
                self.cli("cancel", id)
                refused.append((id, path))
            id, path = self.put("204", callback_url="http://shop.invalid:99/by-proxy/204")
            self.cli("cancel", id)
            self.delivery(id, "succeeded")
            request, = self.receiver.wait("/by-proxy/204")
            self.proved(request)
            for id, _ in refused:
                told = self.delivery(id, "dead")
                assert "webhooks.allow_private" in told["error"]["message"], told
            equal(proxy.seen, [("127.0.0.2", "http://shop.invalid:99/by-proxy/204")])
            self.kill_worker(signal.SIGTERM)
        finally:
            proxy.close()

    def the_files_certificates_vouch_for_receivers(self):
        files = [os.path.join(self.folder, name) for name in ("cert.pem", "key.pem")]
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-out", files[0],
                        "-keyout", files[1]], check=True, capture_output=True)
        shop = Played(files=files)
        try:
            for more, state in (("", "scheduled"), (", ca_file: " + files[0], "succeeded")):
                self.start_worker("secrets: ['{env.WHSEC}'], allow_private: true" + more)
                id, _ = self.put("204", callback_url="https://localhost:%d/done" % shop.port)
                self.cli("cancel", id)
                told = self.delivery(id, state)
                if state == "scheduled":
                    assert "TLS: " in told["error"]["message"], told
                equal(shop.seen, [("127.0.0.1", "/done")] if more else [])
                self.kill_worker(signal.SIGTERM)
        finally:
            shop.close()

    def nobody_serves_them_unasked(self):
        for webhooks, words in (("allow_private: true", "webhooks are left to other workers"),
                                ("serve: false, secrets: ['{env.WHSEC}']", None)):
            self.log.forget()
            self.start_worker(webhooks)
            if words:
                self.log.wait(words)
            self.log.wait("connected to the broker")
            workers = self.cli("worker", "ls")
            equal([w["queues"] for w in workers], [["unused"]])
            self.kill_worker(signal.SIGTERM)

    def it_ends_in_order(self):
        self.broker.send_signal(signal.SIGTERM)
        equal(self.broker.wait(timeout=PATIENCE), 0)
        check = subprocess.run([os.path.join(BUILD, "raincheckd"), "--check", "--data",
                                os.path.join(self.folder, "data")], capture_output=True, text=True, timeout=PATIENCE)
        equal((check.returncode, check.stderr if check.returncode else ""), (0, ""))


STORIES = ["every_end_is_told", "a_failure_is_tried_again_with_the_same_id", "it_comes_back_by_itself",
           "the_receiver_may_ask_for_more_time", "one_that_is_gone_is_left_alone", "a_redirect_is_no_delivery",
           "a_long_answer_is_one", "it_can_be_told_again", "a_worker_that_dies_leaves_it_to_the_next",
           "a_broker_that_dies_has_not_forgotten", "a_broker_that_dies_knows_what_was_tried",
            "of_an_erased_job_nobody_is_told",
           "both_secrets_sign_while_one_is_replaced", "what_is_not_answered_in_time_is_tried_again",
           "addresses_that_are_not_public_are_refused", "they_go_out_by_a_proxy_and_an_interface",
           "the_files_certificates_vouch_for_receivers", "nobody_serves_them_unasked", "it_ends_in_order"]


def main():
    folder = tempfile.mkdtemp()
    side = Side(folder)
    tap = Tap(len(STORIES))
    try:
        for name in STORIES:
            tap.run(name.replace("_", " "), getattr(side, name))
        if tap.failed:
            side.kill_worker()
            sys.stdout.write(side.log.text())
    finally:
        side.close()
        shutil.rmtree(folder)
    return 1 if tap.failed else 0


sys.exit(main())
