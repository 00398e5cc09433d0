#!/usr/bin/python3
"""nginx in front of the broker, with server/http/nginx.conf as it is but for ports and paths. Prints TAP. B names the
build."""
import ctypes
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../harness"))
from tap import Tap

BUILD = os.environ.get("B", "build")
CONF = os.path.join(os.path.dirname(__file__), "../../server/http/nginx.conf")
NGINX = "/usr/sbin/nginx"
PATIENCE_S = 60
STILL = b"\x89PNG\r\n\x1a\n" + bytes(i * 7 % 251 for i in range(3_000_000))

MAIN = """
daemon off;
master_process off;
pid %(dir)s/nginx.pid;
error_log %(dir)s/error.log notice;
events { worker_connections 256; }
http {
	client_body_temp_path %(dir)s/body;
	proxy_temp_path %(dir)s/proxy;
	fastcgi_temp_path %(dir)s/fastcgi;
	uwsgi_temp_path %(dir)s/uwsgi;
	scgi_temp_path %(dir)s/scgi;
	include %(dir)s/raincheck.conf;
}
"""


def replace_once(text, old, new):
    assert text.count(old) == 1, "%r stands %d times in nginx.conf" % (old, text.count(old))
    return text.replace(old, new)


def start(command, **kwargs):
    """Ends with this program, however that ends."""
    return subprocess.Popen(command, preexec_fn=lambda: ctypes.CDLL(None).prctl(1, signal.SIGKILL), **kwargs)


class Rig:
    def __init__(self, folder):
        self.folder = folder
        self.broker = start(
            [os.path.join(BUILD, "raincheckd"), "--data", os.path.join(folder, "data"), "--listen", "127.0.0.1:0",
             "--http", "127.0.0.1:0", "--log-level", "error"], stdout=subprocess.PIPE, text=True)
        _, rpc, http_ = self.broker.stdout.readline().split()
        self.rpc, self.direct = rpc[len("rpc="):], http_[len("http="):]
        self.nginx, self.port = self.start_nginx()

    def start_nginx(self):
        """A free port may be taken by somebody else before nginx has it: then another."""
        for _ in range(20):
            with socket.socket() as s:
                s.bind(("127.0.0.1", 0))
                port = s.getsockname()[1]
            with open(CONF) as f:
                conf = replace_once(f.read(), "server 127.0.0.1:7247;", "server %s;" % self.direct)
            conf = replace_once(conf, "listen 80;", "listen 127.0.0.1:%d;" % port)
            conf = replace_once(conf, "/var/cache/nginx/raincheck", os.path.join(self.folder, "cache"))
            for name, text in (("raincheck.conf", conf), ("nginx.conf", MAIN % {"dir": self.folder})):
                with open(os.path.join(self.folder, name), "w") as f:
                    f.write(text)
            process = start([NGINX, "-p", self.folder, "-c", os.path.join(self.folder, "nginx.conf")],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while process.poll() is None:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    return process, port
                except ConnectionRefusedError:
                    pass
        with open(os.path.join(self.folder, "error.log")) as f:
            raise AssertionError(f.read())

    def raincheck(self, *args):
        command = [os.path.join(BUILD, "raincheck"), "--server", self.rpc, *args]
        return subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout

    def put(self, *settings):
        args = [a for s in settings for a in ("--set", s)]
        job, link = self.raincheck("put", "-q", "q", "--data", "x", *args).split()
        return job, link[link.index("/r/"):]

    def get(self, path, headers=(), method="GET"):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        connection.request(method, path, headers=dict(headers))
        answer = connection.getresponse()
        answer.body = answer.read()
        connection.close()
        return answer

    def until(self, path, done):
        """Asks again and again: what is cached is so for a second."""
        end = time.monotonic() + PATIENCE_S
        while True:
            answer = self.get(path)
            if done(answer):
                return answer
            assert time.monotonic() < end, answer.body

    def stop(self):
        for process in (self.nginx, self.broker):
            process.terminate()
            process.wait()


def expect(got, expected):
    assert got == expected, "%r instead of %r" % (got, expected)


def the_status_is_asked_once_and_soon_again(rig):
    job, link = rig.put()
    rig.until(link + "/status", lambda a: a.getheader("X-Cache-Status") == "HIT")
    answer = rig.get(link + "/status")
    expect(answer.status, 202)
    expect(json.loads(answer.body)["state"], "ready")
    assert answer.getheader("X-Content-Type-Options") == "nosniff"
    rig.raincheck("cancel", job)
    answer = rig.until(link + "/status", lambda a: json.loads(a.body)["state"] == "canceled")
    expect(answer.status, 200)


def the_page_is_cached_with_its_policy(rig):
    _, link = rig.put("title=Ada")
    rig.until(link, lambda a: a.getheader("X-Cache-Status") == "HIT")
    answer = rig.get(link)
    assert b"Ada" in answer.body
    script, nonce = (part.split(b'"')[0].decode() for part in answer.body.split(b'<script src="..')[1].split(b'nonce="')[:2])
    assert "'nonce-%s'" % nonce in answer.getheader("Content-Security-Policy")
    slash = rig.get(link + "/")
    expect((slash.status, slash.getheader("Location")), (308, "../" + link.rsplit("/", 1)[1]))
    live = rig.until(script, lambda a: a.getheader("X-Cache-Status") == "HIT")
    expect((live.status, live.getheader("Content-Type")), (200, "text/javascript; charset=utf-8"))
    for _ in range(2):
        other = rig.get(script + "0")
        expect((other.body == live.body, other.getheader("X-Cache-Status")), (True, "MISS"))
    icon = rig.get("/logo")
    expect((icon.status, icon.getheader("Content-Type")), (200, "image/svg+xml"))


def a_held_answer_is_for_one_alone(rig):
    job, link = rig.put()
    with socket.create_connection(("127.0.0.1", rig.port), timeout=PATIENCE_S) as s:
        s.sendall(b"GET %s/status?wait=60 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % link.encode())
        # Others are served meanwhile.
        expect(rig.get(link + "/status").status, 202)
        rig.raincheck("cancel", job)
        said = b""
        while b"canceled" not in said:
            part = s.recv(65536)
            assert part, said
            said += part


def events_pass_as_they_come(rig):
    job, link = rig.put()
    with socket.create_connection(("127.0.0.1", rig.port), timeout=PATIENCE_S) as s:
        s.sendall(b"GET %s/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n" % link.encode())
        said = b""
        for words in (b"text/event-stream", b'"state":"ready"', b'"state":"canceled"'):
            while words not in said:
                part = s.recv(65536)
                assert part, said
                said += part
            if b"ready" in words:
                rig.raincheck("cancel", job)


def media_come_in_ranges_and_from_the_cache(rig):
    still = os.path.join(rig.folder, "still.png")
    with open(still, "wb") as f:
        f.write(STILL)
    _, link = rig.put("preview=@" + still)
    url = json.loads(rig.get(link + "/status").body)["preview"]
    path = url[url.index("/r/"):]
    assert "?v=" in path
    whole = rig.get(path)
    expect(whole.status, 200)
    expect(whole.body, STILL)
    expect(whole.getheader("Content-Type"), "image/png")
    assert "immutable" in whole.getheader("Cache-Control")
    for first, last in ((0, 0), (100, 199), (1_000_000, 2_200_000), (len(STILL) - 5, len(STILL) - 1)):
        answer = rig.get(path, {"Range": "bytes=%d-%d" % (first, last)})
        expect(answer.status, 206)
        expect(answer.getheader("Content-Range"), "bytes %d-%d/%d" % (first, last, len(STILL)))
        expect(answer.body, STILL[first:last + 1])
        expect(answer.getheader("X-Cache-Status"), "HIT")
    expect(rig.get(path, {"If-None-Match": whole.getheader("ETag")}).status, 304)
    expect(rig.get(path, {"Range": "bytes=%d-" % len(STILL)}).status, 416)
    # Without a version they may become others: not kept.
    for _ in range(2):
        answer = rig.get(path.split("?")[0])
        expect(answer.status, 200)
        assert answer.getheader("X-Cache-Status") != "HIT"


def unknown_links_and_all_else_are_404(rig):
    expect(rig.get("/r/nothing").status, 404)
    for path in ("/", "/metrics", "/v1/queues", "/healthz", "/r/x/y/z"):
        expect(rig.get(path).status, 404)
    _, link = rig.put()
    expect(rig.get(link, method="DELETE").status, 405)


TESTS = [the_status_is_asked_once_and_soon_again, the_page_is_cached_with_its_policy, a_held_answer_is_for_one_alone,
         events_pass_as_they_come, media_come_in_ranges_and_from_the_cache, unknown_links_and_all_else_are_404]


def main():
    folder = tempfile.mkdtemp(prefix="raincheck-nginx-")
    rig = Rig(folder)
    tap = Tap(len(TESTS))
    for test in TESTS:
        tap.run(test.__name__.replace("_", " "), lambda test=test: test(rig))
    rig.stop()
    shutil.rmtree(folder, ignore_errors=True)
    return 1 if tap.failed else 0


if __name__ == "__main__":
    sys.exit(main())
