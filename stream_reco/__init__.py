"""A recommender that learns while people click."""

from stream_reco.kernel_cache import use_kernel_cache

use_kernel_cache()
