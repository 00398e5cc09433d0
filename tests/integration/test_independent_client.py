#!/usr/bin/python3
"""A MessagePack-RPC client of somebody else's (pynvim's) against the real broker: the life of a job, and refusals.

What is said here is in proto/PROTOCOL.md; nothing of Raincheck's own client is used. Prints TAP. B names the build.
"""
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

from pynvim.msgpack_rpc import tcp_session, socket_session
from pynvim.msgpack_rpc.async_session import AsyncSession
from pynvim.msgpack_rpc.event_loop import EventLoop
from pynvim.msgpack_rpc.msgpack_stream import MsgpackStream
from pynvim.msgpack_rpc.session import Session

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../harness"))
from tap import Tap

BUILD = os.environ.get("B", "build")
QUEUE = {"queue", "title", "paused", "max_jobs", "max_bytes", "max_attempts", "backoff", "attempt_timeout_ms",
         "result_ttl_ms", "limit", "weight", "weights", "admit", "counts", "bytes", "put_total", "lease_total",
         "oldest_ready_at_ms", "run_ms"}
NO_JOB = "01977420-a4ab-7cde-8f01-23456789abff"
NO_LEASE = "00112233445566778899aabbccddeeff"
RECORD = {"id", "queue", "state", "attempt", "max_attempts", "priority", "group", "title", "created_at_ms", "run_at_ms",
          "started_at_ms", "finished_at_ms", "deadline_at_ms", "progress", "note", "position", "eta_ms",
          "waiting_for", "error", "artifacts", "link", "metadata", "payload_size", "content_type", "callback",
          "hooks"}


class Refused(Exception):
    """The error of a response, as the map that it is."""

    def __init__(self, error):
        super().__init__(repr(error))
        self.error = error


class Broker:
    def __init__(self, folder, listen):
        self.folder = folder
        command = [os.path.join(BUILD, "raincheckd"), "--data", os.path.join(folder, "data"), "--listen", listen,
                   "--http", "127.0.0.1:0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        ready = re.fullmatch(r"ready rpc=(\S+) http=(\S+)\n", line)
        assert ready, "instead of the ready line: %r" % line
        self.rpc, self.http = ready.groups()

    def address(self):
        """What pynvim's event loop is opened with."""
        if self.rpc.startswith("unix:"):
            return ("socket", self.rpc[len("unix:"):])
        host, port = self.rpc.rsplit(":", 1)
        return ("tcp", host, int(port))

    def connect(self):
        session = Session(AsyncSession(MsgpackStream(EventLoop(*self.address()))))
        session.error_wrapper = Refused
        return session

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=60)
        assert status == 0, "exit status %d after SIGTERM" % status

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def equal(got, wanted):
    assert got == wanted, "%r instead of %r" % (got, wanted)


def refused(code, call, field=None):
    """The call is refused with this code, by a map of the agreed shape."""
    try:
        result = call()
    except Refused as refusal:
        equal(refusal.error["code"], code)
        assert isinstance(refusal.error["message"], str) and refusal.error["message"], refusal.error
        equal(refusal.error.get("field"), field)
        return refusal.error
    raise AssertionError("not refused but %r" % (result,))


class Life:
    """One connection's story; each method is a test and goes on where the one before it ended."""

    def __init__(self, broker):
        self.broker = broker
        self.session = broker.connect()

    def call(self, method, **params):
        return self.session.request(method, params)

    def take(self, queue, **params):
        """The one job that is ready in the queue."""
        jobs = self.call("job.lease", queues=[queue], **params)["jobs"]
        equal(len(jobs), 1)
        return jobs[0]

    def held(self, job):
        return {"id": job["id"], "lease": job["lease"]}

    # ---- the beginning ----

    def nothing_comes_before_hello(self):
        refused("bad_request", lambda: self.call("session.ping"))
        refused("bad_request", lambda: self.call("job.put", queue="q", payload=b""))
        refused("bad_request", lambda: self.call("no.such"))

    def hello_tells_who_and_how_much(self):
        hello = self.call("session.hello", client="pynvim", version="0.4", an_unknown_key=[1, {"deep": None}])
        equal(set(hello), {"server", "version", "protocol", "role", "limits", "now_ms"})
        equal((hello["server"], hello["protocol"], hello["role"]), ("raincheckd", 1, "admin"))
        equal(set(hello["limits"]), {"message", "payload", "depth", "elements", "batch", "in_flight", "unsent"})
        self.limits = hello["limits"]
        equal((self.limits["payload"], self.limits["batch"]), (1 << 20, 1000))

    def hello_is_said_once(self):
        refused("bad_request", lambda: self.call("session.hello"))

    def ping_with_and_without_a_map_and_by_bin(self):
        moments = [self.session.request("session.ping", {})["now_ms"], self.session.request("session.ping")["now_ms"],
                   self.session.request(b"session.ping", {})["now_ms"]]
        assert all(m > 1700000000000 for m in moments), moments

    # ---- the life of a job ----

    def put(self):
        self.first = self.call("job.put", queue="videos", payload=b"\x00render\xff", content_type="application/x-render",
                               priority=3, group="ada", title="Gr\u00fc\u00dfe \U0001f3ac", max_attempts=2,
                               idempotency_key="order 1", metadata={"campaign": "spring"},
                               preview={"content_type": "image/png", "data": b"\x89PNG"})
        equal((self.first["created"], self.first["state"], self.first["position"]), (True, "ready", 1))
        assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", self.first["id"])
        assert re.fullmatch(r"http://\S+/r/[A-Za-z0-9_-]{43}", self.first["link"]), self.first["link"]

    def put_again_is_the_first_or_a_conflict(self):
        again = self.call("job.put", queue="videos", payload=b"\x00render\xff", idempotency_key="order 1")
        equal((again["id"], again["created"]), (self.first["id"], False))
        refused("conflict", lambda: self.call("job.put", queue="videos", payload=b"other", idempotency_key="order 1"),
                "idempotency_key")
        other = self.call("job.put", queue="elsewhere", payload=b"other", idempotency_key="order 1")
        equal(other["created"], True)

    def put_many_each_on_its_own_merits(self):
        jobs = self.call("job.put_many", jobs=[
            {"queue": "many", "payload": b"a"}, {"queue": "many"}, 5, {"queue": "many", "payload": "as a str"},
            {"queue": "many", "payload": b"", "backoff": {"jitter": 2}}])["jobs"]
        equal([sorted(j) == ["error"] for j in jobs], [False, True, True, False, True])
        equal([j["error"].get("field") for j in jobs if "error" in j], ["payload", None, "backoff.jitter"])
        equal(self.call("job.payload", id=jobs[3]["id"])["data"], b"as a str")
        self.many = [jobs[0]["id"], jobs[3]["id"]]

    def get_is_the_whole_record(self):
        record = self.call("job.get", id=self.first["id"].upper())
        equal(set(record), RECORD)
        equal((record["queue"], record["state"], record["attempt"], record["max_attempts"], record["priority"],
               record["group"], record["title"], record["payload_size"], record["content_type"], record["metadata"]),
              ("videos", "ready", 0, 2, 3, "ada", "Gr\u00fc\u00dfe \U0001f3ac", 8, "application/x-render",
               {"campaign": "spring"}))
        equal((record["error"], record["finished_at_ms"], record["started_at_ms"], record["note"]), (None,) * 4)
        equal(record["link"], self.first["link"])
        equal([(a["name"], a["size"], a["sha256"]) for a in record["artifacts"]],
              [("preview", 4, hashlib.sha256(b"\x89PNG").hexdigest())])

    def payload_comes_back_as_bytes(self):
        equal(self.call("job.payload", id=self.first["id"]),
              {"content_type": "application/x-render", "data": b"\x00render\xff"})

    def lease(self):
        self.job = self.take("videos", lease_ms=60000)
        equal((self.job["id"], self.job["queue"], self.job["attempt"], self.job["payload"], self.job["priority"]),
              (self.first["id"], "videos", 1, b"\x00render\xff", 3))
        equal(self.job["metadata"], {"campaign": "spring"})
        assert re.fullmatch(r"[0-9a-f]{32}", self.job["lease"]), self.job["lease"]
        assert "checkpoint" not in self.job
        equal(self.call("job.lease", queues=["videos", "nowhere"], max=5, wait_ms=1), {"jobs": []})

    def checkpoint_outlives_the_attempt(self):
        equal(self.call("job.checkpoint", data=b"call 77", **self.held(self.job)), {})
        stale = self.held(self.job)
        equal(self.call("job.release", **self.held(self.job))["state"], "ready")
        self.job = self.take("videos", lease_ms=60000)
        equal((self.job["checkpoint"], self.job["attempt"]), (b"call 77", 1))
        refused("lease_lost", lambda: self.call("job.checkpoint", data=b"too late", **stale))

    def extend_tells_progress_and_who_has_lost(self):
        leases = self.call("job.extend", lease_ms=60000, leases=[
            {**self.held(self.job), "progress": 0.5, "note": "half"}, {"id": self.job["id"], "lease": NO_LEASE},
            {"id": NO_JOB, "lease": NO_LEASE}])["leases"]
        equal([(l["id"], l["status"]) for l in leases],
              [(self.job["id"], "ok"), (self.job["id"], "lost"), (NO_JOB, "lost")])
        record = self.call("job.get", id=self.job["id"])
        equal((record["state"], record["progress"], record["note"]), ("running", 0.5, "half"))

    def artifacts_in_one_piece_and_in_parts(self):
        small = self.call("artifact.put", name="log", content_type="text/plain", data=b"line\n", **self.held(self.job))
        equal(small, {"size": 5, "sha256": hashlib.sha256(b"line\n").hexdigest()})
        parts = [bytes([i]) * 40000 for i in range(3)]
        self.movie = b"".join(parts)
        upload = self.call("artifact.begin", name="movie", content_type="video/mp4", size=len(self.movie),
                           **self.held(self.job))["upload"]
        for i, part in enumerate(parts):
            equal(self.call("artifact.write", upload=upload, offset=40000 * i, data=part), {"offset": 40000 * (i + 1)})
        refused("bad_request", lambda: self.call("artifact.write", upload=upload, offset=1, data=b"x"), "offset")
        digest = hashlib.sha256(self.movie).hexdigest()
        equal(self.call("artifact.commit", upload=upload, sha256=digest), {"size": len(self.movie), "sha256": digest})
        refused("not_found", lambda: self.call("artifact.commit", upload=upload), "upload")

    def complete_with_a_result(self):
        result = {"content_type": "text/plain", "data": b"done"}
        equal(self.call("job.complete", result=result, call_ms=1234, **self.held(self.job)), {"state": "succeeded"})

    def wait_answers_at_once_for_what_is_over(self):
        record = self.call("job.wait", id=self.job["id"], wait_ms=60000)
        equal((set(record), record["state"]), (RECORD, "succeeded"))
        assert record["finished_at_ms"] >= record["started_at_ms"] >= record["created_at_ms"]
        equal({a["name"] for a in record["artifacts"]}, {"preview", "log", "movie", "result"})

    def artifacts_are_read_whole_and_in_parts(self):
        equal(self.call("artifact.read", id=self.job["id"], name="result"),
              {"content_type": "text/plain", "size": 4, "offset": 0, "data": b"done"})
        equal(self.call("artifact.read", id=self.job["id"], name="movie")["data"], self.movie)
        part = self.call("artifact.read", id=self.job["id"], name="movie", offset=39999, length=2)
        equal((part["offset"], part["data"], part["size"]), (39999, b"\x00\x01", 120000))
        equal(self.call("artifact.read", id=self.job["id"], name="result", offset=99)["data"], b"")
        refused("not_found", lambda: self.call("artifact.read", id=self.job["id"], name="nothing"))

    def a_stale_lease_changes_nothing(self):
        before = self.call("job.get", id=self.job["id"])
        held = self.held(self.job)
        refused("lease_lost", lambda: self.call("job.complete", **held))
        refused("lease_lost", lambda: self.call("job.fail", kind="timeout", message="late", **held))
        refused("lease_lost", lambda: self.call("job.release", **held))
        refused("lease_lost",
                lambda: self.call("artifact.put", name="result", content_type="text/plain", data=b"forged", **held))
        refused("lease_lost", lambda: self.call("artifact.begin", name="result", content_type="text/plain", **held))
        equal(self.call("job.get", id=self.job["id"]), before)

    def many_are_completed_at_once(self):
        jobs = self.call("job.lease", queues=["many"], max=10)["jobs"]
        equal([j["id"] for j in jobs], self.many)
        done = self.call("job.complete", jobs=[self.held(jobs[0]), {"id": jobs[1]["id"], "lease": NO_LEASE}])["jobs"]
        equal((done[0], done[1]["error"]["code"]), ({"id": jobs[0]["id"], "state": "succeeded"}, "lease_lost"))
        failed = self.call("job.fail", kind="rejected", message="no such face", **self.held(jobs[1]))
        equal(failed, {"state": "dead"})
        error = self.call("job.get", id=jobs[1]["id"])["error"]
        equal((error["kind"], error["message"]), ("rejected", "no such face"))

    def failures_are_tried_again_later(self):
        job = self.take("elsewhere")
        failed = self.call("job.fail", kind="throttled", message="slow down", retry_after_ms=3600000, **self.held(job))
        equal(failed["state"], "scheduled")
        record = self.call("job.get", id=job["id"])
        equal((record["attempt"], record["run_at_ms"]), (0, failed["next_attempt_at_ms"]))

    def answers_come_in_the_order_of_their_being_ready(self):
        arrived = []
        self.session._async_session.request("job.lease", [{"queues": ["later"], "wait_ms": 60000}],
                                            lambda error, result: arrived.append((error, result)))
        self.call("session.ping")
        equal(arrived, [])
        put = self.call("job.put", queue="later", payload=b"")
        while not arrived:
            self.call("session.ping")
        equal((arrived[0][0], [j["id"] for j in arrived[0][1]["jobs"]]), (None, [put["id"]]))

    # ---- the operator's view ----

    def list_page_by_page(self):
        ids, cursor = [], None
        while True:
            page = self.call("job.list", limit=2, cursor=cursor)
            ids += [j["id"] for j in page["jobs"]]
            assert all(set(j) == RECORD for j in page["jobs"]) and len(page["jobs"]) <= 2
            cursor = page["cursor"]
            if cursor is None:
                break
        equal((len(ids), len(set(ids)), ids), (5, 5, sorted(ids, reverse=True)))
        dead = self.call("job.list", queue="many", state="dead")["jobs"]
        equal([j["id"] for j in dead], [self.many[1]])
        refused("bad_request", lambda: self.call("job.list", cursor="made up"), "cursor")

    def stats_and_queues_count_the_same(self):
        stats = self.call("server.stats")
        equal((stats["put_total"], stats["queues"], stats["jobs"]["succeeded"], stats["jobs"]["dead"]), (5, 4, 2, 1))
        assert stats["connections"] >= 1 and stats["store"]["commits"] > 0
        queues = {q["queue"]: q for q in self.call("queue.list")["queues"]}
        equal(set(queues), {"videos", "elsewhere", "many", "later"})
        equal(sum(q["put_total"] for q in queues.values()), 5)
        equal(queues["many"]["counts"]["dead"], 1)

    # ---- refusals ----

    def unknown_methods_and_jobs(self):
        refused("unknown_method", lambda: self.call("job.nothing"))
        refused("unknown_method", lambda: self.call(""))
        refused("not_found", lambda: self.call("job.get", id=NO_JOB))

    def fields_missing_mistyped_and_out_of_range(self):
        put = {"queue": "q", "payload": b""}
        for field, value in [("queue", None), ("queue", 5), ("queue", "no spaces"), ("queue", "_own"), ("payload", None),
                             ("payload", 5), ("priority", 10), ("priority", -1), ("priority", "5"), ("title", b"bin"),
                             ("delay_ms", 1 << 63), ("max_attempts", 0), ("metadata", {"k": 5}), ("metadata", ["k"]),
                             ("callback_url", "ftp://x/")]:
            refused("bad_request", lambda f=field, v=value: self.call("job.put", **{**put, f: v}), field)
        refused("bad_request", lambda: self.call("job.put", delay_ms=1, run_at_ms=1, **put), "run_at_ms")
        refused("bad_request", lambda: self.call("job.put", backoff={"factor": float("nan")}, **put), "backoff.factor")
        refused("bad_request", lambda: self.call("job.get", id="not an id"), "id")
        refused("bad_request", lambda: self.call("job.complete"), "id")
        refused("too_large", lambda: self.call("job.put", idempotency_key="k" * 256, **put), "idempotency_key")
        refused("too_large", lambda: self.call("job.put", metadata={str(i): "" for i in range(65)}, **put), "metadata")

    def params_of_another_shape(self):
        refused("bad_request", lambda: self.session.request("session.ping", 5))
        refused("bad_request", lambda: self.session.request("session.ping", {}, {}))
        refused("bad_request", lambda: self.session.request("session.ping", {5: 5}))
        refused("too_large", lambda: self.session.request("session.ping", {str(i): i for i in range(65)}))

    def payloads_up_to_the_limit(self):
        most = os.urandom(self.limits["payload"])
        job = self.call("job.put", queue="large", payload=most)["id"]
        equal(self.call("job.payload", id=job)["data"], most)
        refused("too_large", lambda: self.call("job.put", queue="large", payload=most + b"x"), "payload")

    # ---- what operators and producers change ----

    def cancel_retry_and_erase_one(self):
        job = self.call("job.put", queue="taken", payload=b"", idempotency_key="one")["id"]
        equal(self.call("job.cancel", id=job), {"count": 1})
        equal(self.call("job.cancel", id=job), {"count": 0})
        equal(self.call("job.get", id=job)["state"], "canceled")
        refused("invalid_state", lambda: self.call("job.retry", id=job))
        again = self.call("job.put", queue="taken", payload=b"")["id"]
        self.call("job.fail", kind="rejected", message="no", **self.held(self.take("taken")))
        refused("invalid_state", lambda: self.call("job.cancel", id=again))
        equal(self.call("job.retry", id=again), {"count": 1})
        record = self.call("job.get", id=again)
        equal((record["state"], record["attempt"], record["error"]["message"]), ("ready", 0, "no"))
        for gone in (job, again):
            equal(self.call("job.erase", id=gone), {"count": 1})
            refused("gone", lambda: self.call("job.get", id=gone))
            refused("gone", lambda: self.call("job.erase", id=gone))
        fresh = self.call("job.put", queue="taken", payload=b"other", idempotency_key="one")
        equal((fresh["created"], fresh["id"] != job), (True, True))
        equal(self.call("job.erase", id=fresh["id"]), {"count": 1})
        refused("not_found", lambda: self.call("job.erase", id=NO_JOB))

    def a_holder_is_told_that_its_job_was_taken(self):
        worker = self.broker.connect()
        worker.request("session.hello", {"subscribe": True})
        for method, status in [("job.cancel", "cancel"), ("job.erase", "lost")]:
            job = self.call("job.put", queue="taken", payload=b"")["id"]
            held = self.held(worker.request("job.lease", {"queues": ["taken"]})["jobs"][0])
            equal(held["id"], job)
            equal(self.call(method, id=job), {"count": 1})
            equal(worker.next_message(), ("notification", "job.cancel", [held]))
            equal(worker.request("job.extend", {"leases": [held]})["leases"], [{"id": job, "status": status}])
        worker.close()

    def filters_change_many_in_slices(self):
        self.call("job.put_many", jobs=[{"queue": "bulk", "payload": b"", "group": "ab"[i % 2]} for i in range(20)])
        equal(self.call("job.cancel", filter={"queue": "bulk", "group": "a"}), {"count": 10})
        equal(self.call("job.cancel", filter={"queue": "bulk", "before_at_ms": 1}), {"count": 0})
        counts, cursor = [], None
        while True:
            part = self.call("job.erase", filter={"queue": "bulk"}, limit=8, cursor=cursor)
            counts.append(part["count"])
            cursor = part.get("cursor")
            if cursor is None:
                break
            refused("bad_request", lambda: self.call("job.cancel", filter={"queue": "bulk"}, cursor=cursor), "cursor")
            refused("bad_request", lambda: self.call("job.erase", filter={"queue": "many"}, cursor=cursor), "cursor")
        equal(sum(counts), 20)
        equal(self.call("job.list", queue="bulk")["jobs"], [])

    def a_slip_of_the_hand_reaches_nothing(self):
        before = self.call("server.stats")["jobs"]
        for method in ("job.cancel", "job.retry", "job.erase"):
            refused("bad_request", lambda: self.call(method), "id")
            refused("bad_request", lambda: self.call(method, id=NO_JOB, filter={"all": True}), "filter")
            refused("bad_request", lambda: self.call(method, filter={}), "filter")
            refused("bad_request", lambda: self.call(method, filter={"all": False}), "filter")
            refused("bad_request", lambda: self.call(method, filter={"al": True}), "filter")
            refused("bad_request", lambda: self.call(method, filter={"state": "tired"}), "filter.state")
            refused("bad_request", lambda: self.call(method, id=NO_JOB, limit=5), "limit")
        refused("bad_request", lambda: self.call("job.retry", filter={"state": "ready"}), "filter.state")
        refused("bad_request", lambda: self.call("job.cancel", filter={"state": "dead"}), "filter.state")
        equal(self.call("server.stats")["jobs"], before)

    def links_are_rotated_and_revoked(self):
        put = self.call("job.put", queue="linked", payload=b"")
        link = self.call("link.rotate", id=put["id"])["link"]
        assert re.fullmatch(r"http://\S+/r/[A-Za-z0-9_-]{43}", link) and link != put["link"], link
        equal(self.call("job.get", id=put["id"])["link"], link)
        equal(self.call("link.revoke", id=put["id"]), {})
        equal(self.call("job.get", id=put["id"])["link"], None)
        refused("not_found", lambda: self.call("link.rotate", id=NO_JOB))
        self.call("job.erase", id=put["id"])

    def queues_have_settings(self):
        refused("not_found", lambda: self.call("queue.get", queue="set"), "queue")
        queue = self.call("queue.set", queue="set", max_jobs=1, title="Videos", backoff={"base_ms": 50})
        equal(set(queue), QUEUE)
        equal((queue["max_jobs"], queue["title"], queue["paused"]), (1, "Videos", False))
        equal(queue["backoff"], {"base_ms": 50, "factor": 2.0, "max_ms": 300000, "jitter": 1.0})
        first = self.call("job.put", queue="set", payload=b"12345")["id"]
        full = refused("queue_full", lambda: self.call("job.put", queue="set", payload=b""), "queue")
        assert 1000 <= full["retry_after_ms"] <= 60000, full
        equal(self.call("queue.get", queue="set")["bytes"], 5)
        queue = self.call("queue.set", queue="set", max_jobs=None)
        equal((queue["max_jobs"], queue["title"]), (None, "Videos"))
        equal(self.call("queue.pause", queue="set")["paused"], True)
        self.call("job.put", queue="set", payload=b"")
        equal(self.call("job.lease", queues=["set"])["jobs"], [])
        equal(self.call("queue.resume", queue="set")["paused"], False)
        equal(self.take("set")["id"], first)
        purged = self.call("queue.purge", queue="set")
        equal((set(purged), purged["count"], purged["counts"]["running"]), (QUEUE | {"count"}, 1, 1))
        for method in ("queue.set", "queue.pause", "queue.purge"):
            refused("bad_request", lambda: self.call(method, queue="_own"), "queue")
        equal(self.call("job.erase", filter={"queue": "set"}), {"count": 2})

    def check_and_a_hot_copy(self):
        checked = self.call("server.check")
        equal((checked["breaches"], checked["lines"]), (0, []))
        stats = self.call("server.stats")
        equal(checked["jobs"], sum(stats["jobs"].values()))
        equal((stats["store"]["full"], stats["store"]["set_aside"]), (False, 0))
        path = os.path.join(self.broker.folder, "copy")
        copy = self.call("server.backup", path=path)
        equal((copy["path"], copy["jobs"], copy["artifacts"]), (path, checked["jobs"], checked["artifacts"]))
        refused("conflict", lambda: self.call("server.backup", path=path))
        refused("bad_request", lambda: self.call("server.backup", path="copy2"), "path")
        proof = subprocess.run([os.path.join(BUILD, "raincheckd"), "--check", "--data", path], capture_output=True,
                               text=True, check=False)
        equal((proof.returncode, proof.stderr), (0, ""))

    # ---- odd clients ----

    def a_client_that_introduces_itself_unasked(self):
        """pynvim's own way to connect begins with a notification that this broker does not know: no harm done."""
        kind, *where = self.broker.address()
        session = tcp_session(*where) if kind == "tcp" else socket_session(*where)
        session.error_wrapper = Refused
        equal(session.request("session.hello", {})["protocol"], 1)
        assert session.request("session.ping", {})["now_ms"] > 0
        session.close()

    # ---- estimates ----

    def an_estimate_is_a_range_once_one_has_succeeded(self):
        equal("eta_ms" in self.call("job.put", queue="never-worked-on", payload=b""), False)
        put = self.call("job.put", queue="videos", payload=b"")
        for eta in (put["eta_ms"], self.call("job.get", id=put["id"])["eta_ms"]):
            equal(set(eta), {"low", "high"})
            assert 0 <= eta["low"] <= eta["high"], eta
        equal(self.call("job.get", id=self.first["id"])["eta_ms"], None)
        self.call("job.cancel", id=put["id"])
        equal(self.call("job.get", id=put["id"])["eta_ms"], None)


def tell_a_life(tap, kind, listen, folder, stories):
    broker = Broker(folder, listen)
    try:
        life = Life(broker)
        for name in stories:
            tap.run("%s: %s" % (kind, name.replace("_", " ")), getattr(life, name))
        life.session.close()
        tap.run("%s: SIGTERM ends it with status 0" % kind, broker.stop)
    finally:
        broker.kill()
    return life


def after_a_restart(life, listen, folder):
    """What was answered is there in the next broker on the same data."""
    broker = Broker(folder, listen)
    try:
        session = broker.connect()
        session.request("session.hello", {})
        record = session.request("job.get", {"id": life.first["id"]})
        equal((record["state"], record["link"].rsplit("/", 1)[1]), ("succeeded", life.first["link"].rsplit("/", 1)[1]))
        equal(session.request("artifact.read", {"id": life.first["id"], "name": "movie"})["data"], life.movie)
        equal(session.request("job.put", {"queue": "videos", "payload": b"\x00render\xff",
                                          "idempotency_key": "order 1"})["id"], life.first["id"])
        session.close()
        broker.stop()
    finally:
        broker.kill()


def main():
    stories = [name for name in vars(Life) if not name.startswith("_") and name not in ("call", "take", "held")]
    tap = Tap(2 * (len(stories) + 1) + 1)
    folder = tempfile.mkdtemp()
    try:
        for kind in ("tcp", "unix"):
            home = os.path.join(folder, kind)
            os.mkdir(home)
            listen = "127.0.0.1:0" if kind == "tcp" else "unix:" + os.path.join(home, "socket")
            life = tell_a_life(tap, kind, listen, home, stories)
            if kind == "tcp":
                tap.run("all of it after a restart", lambda: after_a_restart(life, listen, home))
    finally:
        shutil.rmtree(folder)
    return 1 if tap.failed else 0


sys.exit(main())
