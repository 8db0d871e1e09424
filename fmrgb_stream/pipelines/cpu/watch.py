"""What becomes of the host once its workers are forked: it waits for them and tells how one died.

A program of the standard library alone, which the host's process turns into: it is the workers'
parent, and everything it had loaded for them would only take memory.
"""

from __future__ import annotations

import os
import signal
import sys

WORD_BYTES = 8
"""Of the words in `messages.Control`."""
SAMPLE_BITS = 40
"""Of such a word; above them is the sample's source."""


def main(alarm_fd: int, control_fd: int, workers: list[int]) -> None:
    """Wait until all workers have ended; when one dies, say so and kill the others.

    Args:
        alarm_fd: pipe for the words.
        control_fd: file of `messages.Control`.
        workers: process ids, in the order of their numbers.
    """
    try:
        with open("/proc/self/comm", "w") as name:  # noqa: PTH123 - pathlib takes megabytes
            name.write("fmrgb-host")
    except OSError:
        pass  # it is for `top` and `ps` alone
    numbers = {process: number for number, process in enumerate(workers)}
    while numbers:
        process, status = os.wait()
        number = numbers.pop(process)
        if status:
            word = os.pread(control_fd, WORD_BYTES, WORD_BYTES * (1 + number))
            at = int.from_bytes(word, sys.byteorder, signed=True)
            os.write(alarm_fd, _last_words(status, at).encode())
            for other in numbers:
                os.kill(other, signal.SIGKILL)
            return


def name_of(word: int) -> str:
    """The sample that a word of `messages.Control` stands for."""
    source, sample_id = divmod(word, 1 << SAMPLE_BITS)
    return f"sample {sample_id} of source {source}" if source else f"sample {sample_id}"


def _last_words(status: int, at: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGKILL:
        end = "was killed (SIGKILL), which is what the kernel does when memory runs out"
    elif code < 0:
        end = f"crashed ({signal.Signals(-code).name})"
    else:
        end = f"ended with exit code {code}"
    return (
        f"{end}, {'at rest' if at < 0 else f'making {name_of(at)}'}. Its own output, "
        "if any, is above. Run `fmrgb verify` if it names a sample; lower num_workers or "
        "batch_size if memory is short"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), [int(word) for word in sys.argv[3:]])
