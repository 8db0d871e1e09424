"""Sources of clips that misbehave in a known way, importable by decode processes."""

import os
import signal
import time

from fmrgb_stream.clips.source import SampleSource
from fmrgb_stream.errors import DecodeError


class SlowSource(SampleSource):
    """Takes 0.2 s a clip."""

    def fetch(self, task):
        time.sleep(0.2)
        return super().fetch(task)


class StuckSource(SampleSource):
    """Never comes back from sample 3, as from a file system that does not answer."""

    def fetch(self, task):
        if task.sample_id == 3:
            time.sleep(600)
        return super().fetch(task)


class FaultySource(SampleSource):
    """Has a bug."""

    def fetch(self, task):
        return 1 // (task.sample_id - task.sample_id)


class BrokenSource(SampleSource):
    """Finds every sample broken."""

    def fetch(self, task):
        raise DecodeError("broken on purpose", shard="s.tar", key=f"sample-{task.sample_id}")


class CrashingSource(SampleSource):
    """Takes its process down at sample 3, as a decoder with a bug in C would."""

    def fetch(self, task):
        if task.sample_id == 3:
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().fetch(task)


class UnpicklableError(Exception):
    """Cannot be sent."""

    def __reduce__(self):
        raise TypeError("not this one")


class UnpicklableErrorSource(SampleSource):
    """Raises what cannot be sent."""

    def fetch(self, task):
        raise UnpicklableError(f"about sample {task.sample_id}")
