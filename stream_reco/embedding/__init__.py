"""The collisionless dynamic embedding table, and the deltas by which replicas follow it."""

from stream_reco.embedding.admission import Admission, After, Probability, after, probability
from stream_reco.embedding.delta import Delta
from stream_reco.embedding.files import TableFileError
from stream_reco.embedding.optimizer import SGD, Adagrad, Adam, Ftrl, Optimizer, RowwiseAdagrad
from stream_reco.embedding.table import EmbeddingTable

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "Admission",
    "After",
    "Delta",
    "EmbeddingTable",
    "Ftrl",
    "Optimizer",
    "Probability",
    "RowwiseAdagrad",
    "TableFileError",
    "after",
    "probability",
]
