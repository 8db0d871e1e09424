"""Start-up times come from a fresh process and go to the right libraries."""

from benchmarks.startup import DEMO, bars_of, import_costs, start_once

IMPORTTIME = """\
import time: self [us] | cumulative | imported package
import time:       100 |        100 |   _io
import time:      2000 |       2100 | json
import time:      1500 |       1500 |     torch._C
import time:       500 |       2000 |   torch
some warning of a library
import time:        40 |       2040 | fmrgb_stream.loader
"""


def test_import_times_are_summed_by_library():
    costs = import_costs(IMPORTTIME.splitlines())
    assert costs == {
        "standard library": (2.1, 2),
        "torch": (2.0, 2),
        "fmrgb_stream": (0.04, 1),
    }


def test_a_fresh_process_takes_each_step_once():
    steps, _ = start_once(DEMO)
    total = steps.pop("start to first batch")
    assert all(seconds > 0 for seconds in steps.values())
    assert abs(sum(steps.values()) - total) < 1e-6


def test_a_slow_import_is_a_miss():
    bars = bars_of("x", {"import fmrgb_stream": 0.31, "first batch": 1.4})
    assert [bar.is_met for bar in bars] == [False, True]
