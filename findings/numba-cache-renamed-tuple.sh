#!/usr/bin/env bash
# Numba reads the index of its on-disk cache whole, before it asks whether the source has changed. The keys of that index
# are pickled argument types, and of a named tuple the type holds the class itself. So once a cached function has been
# compiled for a named tuple, renaming or moving the class makes every later call of that function raise AttributeError
# from inside the cache: the file is edited, its stamp is out of date, and still the function cannot be compiled again until
# somebody deletes the cache. A changed function body, by contrast, only misses the cache.
#
# Who ships compiled kernels that take named tuples needs a cache folder of its own for each state of the sources.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q numba==0.68.1 numpy==2.4.6
export NUMBA_CACHE_DIR="$folder/cache"
cd "$folder"

module() { # $1: name of the class, $2: a number in the body
    cat >kernels.py <<EOF
from typing import NamedTuple
import numpy as np
from numba import njit

class $1(NamedTuple):
    weights: np.ndarray

@njit(cache=True)
def total(counts):
    return counts.weights.sum() + $2

def run():
    print("  total:", total($1(np.ones(3))))
EOF
    # Numba stamps a source by its time and size.
    touch -d "2020-01-0$3" kernels.py
}

run() {
    "$folder/venv/bin/python" - 2>&1 <<'EOF'
import kernels
try:
    kernels.run()
except Exception as error:
    print(f"  {type(error).__name__}: {error}".replace(kernels.__file__, "kernels.py"))
EOF
}

"$folder/venv/bin/python" -c 'import numba, numpy; print("numba", numba.__version__, "numpy", numpy.__version__)'
echo "first compilation:"; module Tally 0 1; run | tee first
echo "the body is changed, the class is not:"; module Tally 1 2; run | tee body
echo "the class is renamed:"; module Totals 1 3; run | tee renamed
echo "the same with an empty cache:"; rm -rf "$NUMBA_CACHE_DIR"; run | tee empty

grep -q "total: 3.0" first
grep -q "total: 4.0" body
grep -q "AttributeError: .*Tally" renamed
grep -q "total: 4.0" empty
echo "as described"
