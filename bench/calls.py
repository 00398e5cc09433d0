"""P9: one worker with very many calls of a slow API in flight, beside Node.js with undici making the same calls.

Each measurement has an API of its own (tests/slow_api), so that no connection of the one before is in the way.
"""
import json
import os
import resource
import statistics
import subprocess
import time
import urllib.request

from servers import Failed, Raincheck, Server

CPU_TARGET, KIB_TARGET = 1.5, 64
WAVES = 3  # calls are so many times those at once: connections are made once and used again
ROUNDS = 3
OTHER_FILES = 200
LOOK_SECONDS = 0.25
PAYLOAD = '{"name": "Ada", "colour": "#c2185b"}'
CONFIG = """server: 127.0.0.1:{port}
slots: {at_once}
queues: {{ calls: api }}
upstreams:
  api:
    base_url: {api}
    mode: sync
    allow_private: true
    timeouts: {{ attempt: 10m, start: 10m }}
    submit: {{ method: POST, path: /render, on_unknown: retry, idempotency: "header:Idempotency-Key" }}
    result: {{ from: body, types: [video/mp4] }}
"""


class SlowApi(Server):
    """Says its address itself."""

    name = "slow-api"

    def __init__(self, base, call_ms):
        super().__init__(base)
        self.call_ms = call_ms
        self.url = None

    def launch(self):
        read, write = os.pipe()
        with open(read, encoding="ascii") as output:
            self.spawn([os.path.join(os.environ["B"], "slow-api"), str(self.call_ms)], stdout=write)
            os.close(write)
            line = output.readline()
        if not line.startswith("ready http="):
            raise Failed(f"{self.name} does not start:\n{self.log()}")
        self.url = "http://" + line.split("=", 1)[1].strip()

    def stats(self):
        with urllib.request.urlopen(self.url + "/stats") as answer:
            return json.load(answer)


class Caller(Server):
    """A program that makes all the calls and ends."""

    def __init__(self, base, name, command):
        self.name = name
        super().__init__(base)
        self.line = command

    def launch(self):
        self.spawn(self.line)

    def private_kib(self):
        """0 where it has ended meanwhile."""
        try:
            with open(f"/proc/{self.process.pid}/smaps_rollup", encoding="ascii") as f:
                return sum(int(line.split()[1]) for line in f if line.startswith("Private_"))
        except (FileNotFoundError, ProcessLookupError):
            return 0

    def see_through(self, api, at_once):
        """Waits for its end. CPU time of the whole program, and its private memory while all calls were in flight."""
        kib = 0
        began = time.monotonic()
        while True:
            pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
            if pid:
                break
            if api.stats()["in_flight"] >= at_once * 0.98:
                kib = max(kib, self.private_kib())
            time.sleep(LOOK_SECONDS)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        if self.process.returncode != 0:
            raise Failed(f"{self.name} failed:\n{self.log()}")
        return {"cpu_seconds": usage.ru_utime + usage.ru_stime, "private_kib": kib,
                "seconds": time.monotonic() - began}


def by_undici(bench, api, calls, at_once):
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "worker/undici.mjs")
    modules = os.path.join(os.environ["B"], "bench/undici/node_modules")
    with Caller(bench.base, "node", ["node", here, modules, api.url, str(calls), str(at_once)]) as node:
        found = node.see_through(api, at_once)
        if node.log().strip() != "0":
            raise Failed(f"undici: {node.log().strip()} answers were wrong")
    return found


def ask_broker(broker, *words):
    return subprocess.run([os.path.join(os.environ["B"], "raincheck"), "--json", "--server", f"127.0.0.1:{broker.port}",
                           *words], stdout=subprocess.PIPE, text=True, check=True).stdout


def by_worker(bench, api, calls, at_once):
    """Everything that a worker does: leases, calls, results stored, a line of log for each."""
    with Raincheck(bench.base) as broker:
        ask_broker(broker, "put", "-q", "calls", "--count", str(calls), "--set", "content_type=application/json",
                   "--data", PAYLOAD)
        config = os.path.join(broker.dir, "worker.yaml")
        with open(config, "w", encoding="utf-8") as f:
            f.write(CONFIG.format(port=broker.port, api=api.url, at_once=at_once))
        command = [os.path.join(os.environ["B"], "raincheck-worker"), "--config", config, "--once"]
        with Caller(bench.base, "raincheck-worker", command) as worker:
            found = worker.see_through(api, at_once)
        done = json.loads(ask_broker(broker, "queue", "show", "calls"))["counts"]["succeeded"]
        if done != calls:
            raise Failed(f"the worker brought {done} of {calls} results")
    return found


WAYS = {"worker": by_worker, "undici": by_undici}


def measure(bench, way, call_ms, calls, at_once):
    with SlowApi(bench.base, call_ms) as api:
        found = WAYS[way](bench, api, calls, at_once)
        stats = api.stats()
    if stats["answered"] != calls or stats["most"] > at_once:
        raise Failed(f"{way} made {stats['answered']} calls, {stats['most']} at once, instead of {calls}, {at_once}")
    if not found["private_kib"]:
        raise Failed(f"{way} never had {at_once} calls in flight long enough to look: BENCH_CALL_MS= asks for longer ones")
    return dict(found, most=stats["most"], per_cpu_second=calls / found["cpu_seconds"],
                kib_a_call=found["private_kib"] / at_once)


def ask(bench, call_ms, at_once):
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if allowed < at_once + OTHER_FILES:
        raise Failed(f"{at_once} calls at once need {at_once + OTHER_FILES} open files, and {allowed} are allowed "
                     "(ulimit -Hn); BENCH_CALLS= asks for fewer")
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, allowed))
    rounds = []
    names = list(WAYS)
    for n in range(min(bench.rounds, ROUNDS)):
        rounds.append({way: measure(bench, way, call_ms, WAVES * at_once, at_once) for way in names})
        bench.say(f"P9 round {n + 1}: " + "; ".join(
            f"{way} {r['per_cpu_second']:,.0f} calls a CPU second, {r['kib_a_call']:.1f} KiB a call"
            for way, r in rounds[-1].items()))
        names.reverse()
    bench.raw["p9"] = {"call_ms": call_ms, "at_once": at_once, "waves": WAVES, "rounds": rounds}
    ratio = statistics.median(r["worker"]["per_cpu_second"] / r["undici"]["per_cpu_second"] for r in rounds)
    middle = {way: {key: statistics.median(r[way][key] for r in rounds) for key in ("per_cpu_second", "kib_a_call")}
              for way in WAYS}
    bench.at_least("P9", f"calls a CPU second, {at_once:,} in flight, beside undici", CPU_TARGET, ratio,
                   f"{middle['worker']['per_cpu_second']:,.0f} beside {middle['undici']['per_cpu_second']:,.0f}")
    bench.at_most("P9", f"memory a call, {at_once:,} in flight", KIB_TARGET, middle["worker"]["kib_a_call"],
                  f"undici {middle['undici']['kib_a_call']:.1f} KiB", "KiB")
