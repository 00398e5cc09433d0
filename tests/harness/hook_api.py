"""The external API of the stories about hooks, played, and what it signs its reports with. It is asked for calls, and
counts what it is asked. Needs openssl for the signatures of fal.
"""
import base64
import hashlib
import hmac
import http.server
import json
import os
import select
import ssl
import subprocess
import threading
import time
import urllib.parse

from hook_stories import PATIENCE, equal

PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII=")
KEY = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


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
