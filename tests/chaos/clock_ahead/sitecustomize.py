"""A clock two seconds ahead in each second replica: Python imports this where PYTHONPATH names its folder."""

import sys
import time

AHEAD_S = 2

if any(argument.endswith("-2.log") for argument in sys.orig_argv):
    _time, _time_ns = time.time, time.time_ns
    time.time = lambda: _time() + AHEAD_S
    time.time_ns = lambda: _time_ns() + AHEAD_S * 10**9
