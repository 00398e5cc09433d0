"""What programs under test write to standard error, heard line by line as it comes: to be waited for, not looked for."""
import os
import threading


class Heard:
    """Of one program after the other: what the ones before have said stays."""

    def __init__(self, patience):
        self.patience = patience
        self.lines = []
        self.readers = []
        self.came = threading.Condition()

    def writer(self):
        """A descriptor to be a program's standard error. Close it here once the program has it."""
        ours, theirs = os.pipe()
        reader = threading.Thread(target=self.read, args=(os.fdopen(ours, encoding="utf-8"),), daemon=True)
        reader.start()
        self.readers.append(reader)
        return theirs

    def read(self, stream):
        with stream:
            for line in stream:
                with self.came:
                    self.lines.append(line)
                    self.came.notify_all()

    def end(self):
        """Every program has ended: whatever they said has been heard."""
        for reader in self.readers:
            reader.join(self.patience)

    def count(self, *words):
        return sum(all(word in line for word in words) for line in self.lines)

    def wait(self, *words, times=1):
        """Until so many lines hold all of the words."""
        with self.came:
            assert self.came.wait_for(lambda: self.count(*words) >= times, self.patience), \
                "not heard: %s" % (words,)

    def forget(self):
        self.end()
        with self.came:
            self.lines.clear()

    def text(self):
        self.end()
        return "".join(self.lines)
