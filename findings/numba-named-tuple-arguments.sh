#!/usr/bin/env bash
# A kernel compiled by numba takes named tuples as readily as plain ones, but Python pays for the names at every call: for
# plain tuples the dispatcher finds the compiled version by a fingerprint, for a named tuple by a slower way through its
# class, and each nested one adds to it. Eight named tuples with 32 arrays in all, passed as one argument, cost about three
# times what the same arrays cost in plain tuples, and more than many kernels take for their work.
#
# The names cost nothing inside: a kernel that takes plain tuples and builds the named ones from them (numba unpacks with *)
# is called as fast as one that does not name them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q numba==0.68.1 numpy==2.4.6
cat >"$folder/calls.py" <<'EOF'
import time
from typing import NamedTuple

import numba
import numpy as np
from numba import njit


class Lists(NamedTuple):
    keys: np.ndarray
    weights: np.ndarray
    stamps: np.ndarray
    rates: np.ndarray


class Counts(NamedTuple):
    a: Lists
    b: Lists
    c: Lists
    d: Lists
    e: Lists
    f: Lists
    g: Lists
    h: Lists


@njit
def directly(counts, place):
    return place


@njit
def by_name(counts, place):
    return counts.c.stamps[place]


@njit
def named_inside(p, place):
    counts = Counts(
        Lists(*p[0]), Lists(*p[1]), Lists(*p[2]), Lists(*p[3]), Lists(*p[4]), Lists(*p[5]), Lists(*p[6]), Lists(*p[7])
    )
    return counts.c.stamps[place]


def microseconds(call, argument, calls=5000):
    call(argument, 1)
    best = 1.0
    for _ in range(9):
        start = time.perf_counter()
        for _ in range(calls):
            call(argument, 1)
        best = min(best, (time.perf_counter() - start) / calls)
    return best * 1e6


named = Counts(*(Lists(*(np.arange(4.0) for _ in range(4))) for _ in range(8)))
plain = tuple(map(tuple, named))
print("numba", numba.__version__, "numpy", np.__version__)
times = {
    "named tuples": microseconds(by_name, named),
    "plain tuples, not named": microseconds(directly, plain),
    "plain tuples, named inside": microseconds(named_inside, plain),
}
for name, time_ in times.items():
    print(f"{name}: {time_:.1f} µs a call")
assert by_name(named, 1) == named_inside(plain, 1) == 1.0
assert times["named tuples"] > 1.7 * times["plain tuples, named inside"], times
assert times["plain tuples, named inside"] < 1.4 * times["plain tuples, not named"], times
print("as described")
EOF
"$folder/venv/bin/python" "$folder/calls.py"
