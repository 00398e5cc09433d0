"""Stories told in the TAP format, one after the other: "1..COUNT", then "ok N - name" or "not ok N - name" and why."""
import traceback


class Tap:
    def __init__(self, count):
        self.number = self.failed = 0
        print("1..%d" % count)

    def run(self, name, test):
        self.number += 1
        try:
            test()
            print("ok %d - %s" % (self.number, name), flush=True)
        except Exception:
            self.failed += 1
            print("not ok %d - %s" % (self.number, name))
            print("".join("# %s\n" % line for line in traceback.format_exc().splitlines()), end="", flush=True)
