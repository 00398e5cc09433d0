"""P6, P7 and P8: what a crowd of visitors gets, beside nginx with a file of the same size on the same machine, in turns;
the load is made by wrk."""
import os
import re
import statistics
import subprocess
import time
import urllib.parse
import urllib.request

from servers import Failed, Raincheck, Server

MIB = 1 << 20
VIDEO_BYTES = 100 * MIB
RANGE_BYTES = MIB
VISITORS = 19_000
PROCESSES = 4  # that the visitors are in: none may have as many files open as the broker
NGINX = "/usr/sbin/nginx"
CONNECTIONS = 32

CONF = """
daemon off;
worker_processes auto;
pid %(dir)s/pid;
error_log %(dir)s/error.log;
events { worker_connections 1024; }
http {
	access_log off;
	sendfile on;
	tcp_nopush on;
	tcp_nodelay on;
	keepalive_requests 1000000000;
	open_file_cache max=100;
	client_body_temp_path %(dir)s/t1; proxy_temp_path %(dir)s/t2; fastcgi_temp_path %(dir)s/t3;
	uwsgi_temp_path %(dir)s/t4; scgi_temp_path %(dir)s/t5;
	server { listen 127.0.0.1:%(port)d; root %(dir)s/files; default_type application/octet-stream; }
}
"""

# A piece of the video in each request, at another place each time.
RANGES_LUA = """
local size, piece = %d, %d
request = function()
	local first = math.random(0, size - piece)
	wrk.headers["Range"] = "bytes=" .. first .. "-" .. (first + piece - 1)
	return wrk.format()
end
"""


class Nginx(Server):
    """As Debian has it, a worker process for each core, serving files."""

    name = "nginx"

    def prepare(self):
        os.chmod(self.dir, 0o755)
        os.makedirs(os.path.join(self.dir, "files"))
        with open(os.path.join(self.dir, "nginx.conf"), "w", encoding="utf-8") as f:
            f.write(CONF % {"dir": self.dir, "port": self.port})

    def command(self):
        return [NGINX, "-p", self.dir, "-c", os.path.join(self.dir, "nginx.conf"), "-e",
                os.path.join(self.dir, "error.log")]

    def add(self, name, data):
        with open(os.path.join(self.dir, "files", name), "wb") as f:
            f.write(data)
        return f"http://127.0.0.1:{self.port}/{name}"


class LinkBroker(Raincheck):
    """With room for a crowd: the descriptors that RPC does not want are visitors'."""

    def prepare(self):
        with open(os.path.join(self.dir, "broker.yaml"), "w", encoding="utf-8") as f:
            f.write(f"limits: {{ connections: 16, visitors: {VISITORS + 1000} }}\n")

    def command(self):
        return [*super().command(), "--config", "broker.yaml", "--log-level", "error"]

    def cli(self, *args):
        command = [os.path.join(os.environ["B"], "raincheck"), "--server", f"127.0.0.1:{self.port}", *args]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout

    def put(self):
        """A job that waits: its id and its link."""
        return self.cli("put", "-q", "waiting", "--data", "x", "--set", "title=A greeting for Ada").split()


def wrk(url, seconds, connections=CONNECTIONS, script=None):
    """Requests and bytes a second."""
    command = ["wrk", "-t2", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s", url]
    if script:
        command[1:1] = ["-s", script]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        raise Failed(f"wrk {url}: {said}")
    seen = re.search(r"(\d+) requests in ([\d.]+)(m?s), ([\d.]+)([KMGT]?B) read", said)
    took = float(seen[2]) * (0.001 if seen[3] == "ms" else 1)
    unit = 1024 ** ("B", "KB", "MB", "GB", "TB").index(seen[5])
    return {"requests": float(seen[1]) / took, "bytes": float(seen[4]) * unit / took}


def fetch(url):
    with urllib.request.urlopen(url) as answer:  # 202 is fine
        return answer.read()


def in_turns(bench, question, what, ours, theirs, key, target, show, **how):
    rounds = []
    sides = [("raincheck", ours), ("nginx", theirs)]
    for n in range(bench.rounds):
        rounds.append({name: wrk(url, bench.seconds, **how) for name, url in sides})
        sides.reverse()
        bench.say(f"{question} round {n + 1}, {what}: " +
                  ", ".join(f"{name} {show(r[key])}" for name, r in rounds[-1].items()))
    bench.raw.setdefault(question.lower(), {})[what] = rounds
    ratio, mine, other = (statistics.median(r["raincheck"][key] / r["nginx"][key] for r in rounds),
                          *(statistics.median(r[s][key] for r in rounds) for s in ("raincheck", "nginx")))
    bench.at_least(question, f"{what}, beside nginx with a file", target, ratio, f"{show(mine)} beside {show(other)}")


def ask_p6(bench):
    """Status and page of a job that waits, beside files of the same size."""
    with LinkBroker(bench.base) as broker, Nginx(bench.base) as nginx:
        _, link = broker.put()
        for what, url in (("status", link + "/status"), ("page", link)):
            file = nginx.add(what, fetch(url))
            in_turns(bench, "P6", what, url, file, "requests", 1.2, lambda n: f"{n:,.0f}/s")


def ask_p8(bench):
    """A whole result of 100 MiB, and pieces of it, beside nginx with sendfile."""
    def show(n):
        return f"{n / MIB:,.0f} MiB/s"

    with LinkBroker(bench.base) as broker, Nginx(bench.base) as nginx:
        link = subprocess.run([os.path.join(os.environ["B"], "bench/finish"), str(broker.port), str(VIDEO_BYTES)],
                              check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        url = link + "/result"
        file = nginx.add("video", fetch(url))
        script = os.path.join(bench.base, "ranges.lua")
        with open(script, "w", encoding="utf-8") as f:
            f.write(RANGES_LUA % (VIDEO_BYTES, RANGE_BYTES))
        in_turns(bench, "P8", "download of 100 MiB", url, file, "bytes", 0.9, show, connections=4)
        in_turns(bench, "P8", "ranges of 1 MiB", url, file, "bytes", 0.9, show, connections=16, script=script)


# ---- P7 ----

class Crowd:
    """Visitors on event streams, in several processes."""

    def __init__(self, link, count):
        url = urllib.parse.urlsplit(link)
        share = [count // PROCESSES + (i < count % PROCESSES) for i in range(PROCESSES)]
        self.parts = [subprocess.Popen([os.path.join(os.environ["B"], "bench/visitors"), str(url.port), str(n),
                                        url.path + "/events"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                      for n in share]

    def each(self, word):
        """The line that begins with word, of every process."""
        lines = []
        for part in self.parts:
            line = part.stdout.readline().split()
            if not line or line[0] != word:
                raise Failed(f"the visitors said {line} instead of {word}")
            lines.append(line)
        return lines

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for part in self.parts:
            part.stdin.close()
            part.wait()


def ask_p7(bench):
    """19,000 people wait on one link: memory of the broker for each, and when the last of them knows of a change."""
    rounds = []
    for n in range(bench.rounds):
        with LinkBroker(bench.base) as broker:
            job, link = broker.put()
            before = broker.private_bytes()
            with Crowd(link, VISITORS) as crowd:
                crowd.each("waiting")
                each = (broker.private_bytes() - before) / VISITORS
                began = time.monotonic_ns()
                broker.cli("cancel", job)
                told = (max(int(line[2]) for line in crowd.each("told")) - began) / 1e9
        rounds.append({"bytes_each": each, "told_s": told})
        bench.say(f"P7 round {n + 1}: {each:,.0f} bytes each, all {VISITORS:,} told after {told:.2f} s")
    bench.raw["p7"] = rounds
    bench.at_most("P7", f"memory of each of {VISITORS:,} waiting", 6, max(r["bytes_each"] for r in rounds) / 1024,
                  "the most seen", "KiB")
    bench.at_most("P7", "until the last of them is told", 2, statistics.median(r["told_s"] for r in rounds),
                  f"at most {max(r['told_s'] for r in rounds):.2f} s", "s")
