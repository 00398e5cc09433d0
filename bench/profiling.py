"""Where raincheckd's time goes while lifecycles go through it. Two kinds of samples of the loop's and the writer's
thread: perf's, of what runs on a processor, by what it is about and by function; and the system call in which a thread
that does not run is waiting, from /proc.
"""
import collections
import os
import platform
import re
import shutil
import subprocess
import threading

from servers import Failed

HERTZ = 997
LOOK_SECONDS = 0.002  # from one look at the waiting threads to the next
FUNCTIONS = 12
SMALLEST = 0.005  # no kind that takes less is printed
MALLOC = re.compile(r"^(_int_)?(malloc|free|calloc|realloc|memalign)|malloc_|unlink_chunk|tcache|cfree")

# What a kernel stack is about: the first whose words are in one of its functions.
KERNEL = [("sync", re.compile("fsync|fdatasync|_sync_file")),
          ("waking the other thread", re.compile("eventfd|futex")),
          ("sockets", re.compile("sock|tcp_|inet_|_epoll|^ep_")),
          ("writing the file", re.compile("ext4|xfs|btrfs|ovl_|generic_perform_write|p?writev?64|vfs_write")),
          ("page faults", re.compile("page_fault")),
          ("interrupts", re.compile("sysvec|irq_exit"))]

# System calls of x86-64 by number.
CALLS = {"0": "read", "1": "write", "8": "lseek", "18": "pwrite", "20": "writev", "75": "fdatasync: the disk",
         "74": "fsync: the disk", "202": "futex: nothing to do, or the other thread has the lock",
         "232": "epoll_wait: nothing to do", "281": "epoll_wait: nothing to do", "296": "pwritev"}


# ---- on a processor ----

def kernel_kind(stack):
    for kind, words in KERNEL:
        if any(words.search(symbol) for symbol, _ in stack):
            return f"kernel: {kind}"
    return "kernel: other"


def kind_of(stack):
    """What the thread was doing, by the innermost function and the library it is in."""
    symbol, library = stack[0]
    name = os.path.basename(library)
    if name.startswith(("[kernel", "[guest", "[vdso")):
        return kernel_kind(stack)
    if symbol.startswith("XXH") or name.startswith(("libnettle", "libgnutls", "libhogweed")):
        return "hashing and random"
    if name.startswith("libc."):
        if MALLOC.search(symbol):
            return "malloc"
        return "memcpy, memcmp, memset" if symbol.startswith("__mem") else "libc, other"
    for start, kind in (("liblmdb", "LMDB"), ("libmsgpackc", "msgpack"), ("libuv", "libuv"),
                        ("raincheckd", "raincheckd's own code")):
        if name.startswith(start):
            return kind
    return name


def function_of(stack):
    symbol, library = stack[0]
    return f"{'(no symbol)' if symbol == '[unknown]' else symbol}  {os.path.basename(library)}"


def samples(script):
    """(thread, stack) of each; a stack is a list of (symbol, library), innermost first."""
    for block in script.split("\n\n"):
        lines = [line.strip() for line in block.splitlines() if line.strip()]
        if len(lines) < 2:
            continue
        stack = [(m.group(1).split("+")[0], m.group(2)) for m in
                 (re.match(r"[0-9a-f]+ (.+) \((.*)\)$", line) for line in lines[1:]) if m]
        if stack:
            yield int(lines[0].split()[-1]), stack


# ---- waiting ----

class Watch(threading.Thread):
    """Looks again and again at what each thread of a process is waiting in."""

    def __init__(self, pid):
        super().__init__()
        self.tasks = f"/proc/{pid}/task"
        self.seen = collections.defaultdict(collections.Counter)
        self.over = threading.Event()

    def run(self):
        files = {int(thread): open(f"{self.tasks}/{thread}/syscall", encoding="ascii")
                 for thread in os.listdir(self.tasks)}
        while not self.over.wait(LOOK_SECONDS):
            for thread, file in files.items():
                file.seek(0)
                self.seen[thread][file.read().split()[0]] += 1
        for file in files.values():
            file.close()

    def end(self):
        self.over.set()
        self.join()


def waiting_in(call):
    if call == "running":
        return "running, or ready to"
    if platform.machine() == "x86_64" and call in CALLS:
        return CALLS[call]
    return f"system call {call}"


# ---- both ----

def print_shares(say, counts, most=None, least=SMALLEST):
    total = sum(counts.values())
    for what, n in counts.most_common(most):
        if n / total >= least:
            say(f"    {n / total:6.1%}  {what}")


def print_thread(say, name, stacks, calls):
    say(f"\n{name}\n  all the time")
    print_shares(say, collections.Counter({waiting_in(call): n for call, n in calls.items()}))
    say("  the time on a processor")
    print_shares(say, collections.Counter(map(kind_of, stacks)))
    say("  the hottest functions")
    print_shares(say, collections.Counter(map(function_of, stacks)), FUNCTIONS, 0)


def record(bench, driver, server):
    """perf's text, the watch, and what the driver measured meanwhile."""
    data = os.path.join(bench.base, "perf.data")
    watch = Watch(server.process.pid)
    perf = subprocess.Popen(["perf", "record", "-q", "-e", "cpu-clock", "-F", str(HERTZ), "-g", "-p",
                             str(server.process.pid), "-o", data], stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL)
    watch.start()
    try:
        figures = driver("lifecycle", "raincheck", server.port, bench.seconds)
    finally:
        watch.end()
        perf.terminate()
        perf.wait()
    script = subprocess.run(["perf", "script", "-i", data, "-F", "tid,ip,sym,dso"], stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, text=True, check=False)
    return script.stdout, watch, figures


def ask(bench, driver, server_class):
    """Prints the profile of the broker under P1's load."""
    if not shutil.which("perf"):
        raise Failed("the profile needs perf (the package linux-perf)")
    with server_class(bench.base) as server:
        loop = server.process.pid
        script, watch, figures = record(bench, driver, server)
        stats = driver("stats", server.port)
    threads = collections.defaultdict(list)
    for thread, stack in samples(script):
        threads[thread].append(stack)
    others = sorted((t for t in threads if t != loop), key=lambda t: len(threads[t]))
    if not others:
        raise Failed("perf took no samples: is it allowed here (/proc/sys/kernel/perf_event_paranoid)?")
    bench.say(f"{figures['rate']:,.0f} lifecycles a second under perf, "
              f"{stats['commands'] / stats['commits']:.0f} commands in a commit")
    for name, thread in (("the writer's thread", others[-1]), ("the loop's thread", loop)):
        print_thread(bench.say, name, threads[thread], watch.seen[thread])
