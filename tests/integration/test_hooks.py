#!/usr/bin/python3
"""Hooks, end to end: what the broker makes of POST /hooks/{token}, job.wake and job.woken, before a worker that is played
here. Prints TAP. B names the build.
"""
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.parse

import msgpack

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../harness"))
from hook_stories import BUILD, PATIENCE, Broker, equal, run

MIB = 1 << 20


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


class BrokersSide:
    _helpers = {"take"}

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


sys.exit(run(BrokersSide))
