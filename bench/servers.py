"""The programs that are measured: each started on a port of its own on loopback, with its data in a directory of its
own, and gone with its data afterwards. They also die with the bench itself, however that ends.
"""
import ctypes
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time

READY_SECONDS = 30
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG
PG_BIN = "/usr/lib/postgresql/15/bin/"


class Failed(Exception):
    """Something that the bench needs does not work; a sentence for people."""


def _free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def _die_with_parent():
    ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)


class Server:
    """One running program; use it in a with statement. log: its output, shown where it does not start."""

    stop_signal = signal.SIGTERM

    def __init__(self, base):
        self.dir = tempfile.mkdtemp(prefix=self.name + "-", dir=base)
        self.process = None
        self.port = _free_port()

    def __enter__(self):
        try:
            self.prepare()
            self.launch()
            self.set_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.stop(self.stop_signal)
        shutil.rmtree(self.dir)

    def prepare(self):
        """What comes before the start."""

    def set_up(self):
        """What comes between the start and the first measurement."""

    def launch(self):
        self.spawn(self.command())
        deadline = time.monotonic() + READY_SECONDS
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"{self.name} does not start:\n{self.log()}")
            time.sleep(0.01)

    def spawn(self, command, **options):
        with open(self._log_path(), "ab") as log:
            options = {"stdout": log, "stderr": log, **options}
            try:
                self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, cwd=self.dir,
                                                start_new_session=True, preexec_fn=_die_with_parent, **options)
            except FileNotFoundError:
                raise Failed(f"there is no {command[0]}: make bench installs and builds what is missing") from None

    def stop(self, how=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(READY_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
        if self.process:
            self.process.wait()

    def log(self):
        try:
            with open(self._log_path(), errors="replace", encoding="utf-8") as f:
                return f.read()[-2000:]
        except FileNotFoundError:
            return "(it said nothing)"

    def _log_path(self):
        return os.path.join(self.dir, "log")

    def answers(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False


class Raincheck(Server):
    """The broker with its defaults."""

    name = "raincheck"

    def command(self):
        return [os.path.join(os.environ["B"], "raincheckd"), "--data", "data", "--listen", f"127.0.0.1:{self.port}",
                "--http", "127.0.0.1:0", "--log-level", "warning"]

    def launch(self):
        """Its line "ready" says that it serves, and on which port."""
        read, write = os.pipe()
        with open(read, encoding="utf-8") as output:
            self.spawn(self.command(), stdout=write)
            os.close(write)
            for line in output:
                if line.startswith("ready "):
                    return
        raise Failed(f"{self.name} does not start:\n{self.log()}")

    @property
    def file(self):
        return os.path.join(self.dir, "data", "raincheck.mdb")

    def private_bytes(self):
        """Memory that is the broker's alone: what it has allocated, or written to of what it maps, the larger one."""
        pid = self.process.pid
        anonymous = _kib_of(f"/proc/{pid}/status", "RssAnon:")
        return max(anonymous, _kib_of(f"/proc/{pid}/smaps_rollup", "Private_Dirty:")) * 1024


def _kib_of(path, key):
    with open(path, encoding="ascii") as f:
        for line in f:
            if line.startswith(key):
                return int(line.split()[1])
    raise Failed(f"there is no {key} in {path}")


class Redis(Server):
    """Every command is in the append-only file, synced, before its reply; nothing else is ever written: no snapshots,
    no rewriting of the file while it is measured."""

    name = "redis"

    def command(self):
        return ["/usr/bin/redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.dir,
                "--appendonly", "yes", "--appendfsync", "always", "--save", "",
                "--auto-aof-rewrite-percentage", "0", "--daemonize", "no"]

    def set_up(self):
        with socket.create_connection(("127.0.0.1", self.port)) as s:
            s.sendall(b"XGROUP CREATE bench g $ MKSTREAM\r\n")
            answer = s.recv(100)
        if answer != b"+OK\r\n":
            raise Failed(f"Redis makes no stream: {answer!r}")


class Beanstalkd(Server):
    """-f0: a sync after every write to its log."""

    name = "beanstalkd"

    def command(self):
        return ["/usr/bin/beanstalkd", "-l", "127.0.0.1", "-p", str(self.port), "-b", self.dir, "-f0"]


class Postgresql(Server):
    """All that makes a commit durable is at its default, on. What is changed gives it room: no checkpoint while it is
    measured, dead rows swept every second, a tenth of a millisecond for commits to gather, records of the log
    compressed. It refuses to be root, so it is the user postgres then."""

    name = "postgresql"
    stop_signal = signal.SIGINT  # ends its sessions and does not wait for them
    settings = {
        "port": None, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": "64",
        "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on",
        "shared_buffers": "512MB", "max_wal_size": "8GB", "checkpoint_timeout": "1h", "jit": "off",
        "autovacuum_naptime": "1s", "autovacuum_vacuum_cost_delay": "0", "commit_delay": "100",
        "wal_compression": "lz4",
    }
    tables = """CREATE TABLE jobs (id bigserial PRIMARY KEY, state smallint NOT NULL DEFAULT 0, lease_until timestamptz,
        payload text NOT NULL); CREATE INDEX jobs_ready ON jobs (id) WHERE state = 0;"""

    def __init__(self, base):
        self.user = "postgres" if os.geteuid() == 0 else None
        super().__init__(_passable(base, self.user))

    def prepare(self):
        if self.user:
            shutil.chown(self.dir, self.user, self.user)
        self._run("initdb", "-D", self._data(), "-U", "bench", "-A", "trust", "--no-sync", "--locale=C", "-E", "UTF8")

    def command(self):
        settings = dict(self.settings, port=str(self.port))
        return [PG_BIN + "postgres", "-D", self._data(), *(w for k, v in settings.items() for w in ("-c", f"{k}={v}"))]

    def spawn(self, command, **options):
        super().spawn(command, **self._as_user(), **options)

    def set_up(self):
        self._run("psql", "-q", "-h", "127.0.0.1", "-p", str(self.port), "-U", "bench", "-c", self.tables, "postgres")

    def _data(self):
        return os.path.join(self.dir, "data")

    def _as_user(self):
        return {"user": self.user, "group": self.user, "extra_groups": []} if self.user else {}

    def answers(self):
        """It listens before it serves."""
        return self._try("pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)).returncode == 0

    def _try(self, program, *args):
        return subprocess.run([PG_BIN + program, *args], cwd=self.dir, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **self._as_user())

    def _run(self, program, *args):
        result = self._try(program, *args)
        if result.returncode != 0:
            raise Failed(f"{program}: {result.stdout}")


def _passable(path, user):
    """The path, or one on the same disk that the user may pass through to."""
    if user is None or _may_pass(path, user):
        return path
    other = "/var/tmp"
    if os.stat(other).st_dev != os.stat(path).st_dev:
        raise Failed(f"{user} cannot reach {path}: name another directory of that disk in BENCH_DIR")
    return other


def _may_pass(path, user):
    uid = pwd.getpwnam(user).pw_uid
    while True:
        st = os.stat(path)
        if not st.st_mode & (stat.S_IXUSR if st.st_uid == uid else stat.S_IXOTH):
            return False
        if path == "/":
            return True
        path = os.path.dirname(path)


PEERS = {cls.name: cls for cls in (Raincheck, Redis, Beanstalkd, Postgresql)}
VERSIONS = {
    "raincheck": [os.path.join(os.environ["B"], "raincheckd"), "--version"],
    "redis": ["/usr/bin/redis-server", "--version"],
    "beanstalkd": ["/usr/bin/beanstalkd", "-v"],
    "postgresql": [PG_BIN + "postgres", "--version"],
    "node": ["node", "-p", "'node ' + process.version"],
}
