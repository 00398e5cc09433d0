#!/usr/bin/python3
"""Hooks, end to end: what an external API reports to POST /hooks/{token}, and what the worker makes of it.

The API is played (hook_api.py): it reports early, late, twice, out of order, forged or never. Polls are an hour apart
unless said otherwise, so that a call which ends was ended by its hook. Prints TAP. B names the build.
"""
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../harness"))
from heard import Heard
from hook_api import SECRET, Api, FalKey, standard, t_v1
from hook_stories import BUILD, PATIENCE, Broker, ends_in_order, equal, run

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
    _helpers = {"put", "ends", "reports", "signed", "forged", "saved", "start_worker", "start_heard", "kill_worker",
                "stop_worker", "left_to_the_next"}

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


sys.exit(run(WorkersSide))
