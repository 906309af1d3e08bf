"""A recommender that learns while people click."""

from stream_reco.kernel_cache import use_kernel_cache

# The same number stands in pyproject.toml, held by a test: reading the metadata of the installed package would make
# each import slower, and a checkout that is not installed has none.
__version__ = "0.2.0"

use_kernel_cache()
