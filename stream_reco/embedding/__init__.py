"""The collisionless dynamic embedding table, and the deltas by which tables of replicas follow it."""

from stream_reco.embedding.delta import Delta
from stream_reco.embedding.kernels.admission import Admission, After, Probability, after, probability
from stream_reco.embedding.kernels.optimizer import SGD, Adagrad, Adam, Ftrl, Optimizer, RowwiseAdagrad
from stream_reco.embedding.replica.precision import PRECISIONS, Precision
from stream_reco.embedding.replica.table import ReplicaTable
from stream_reco.embedding.table.changes import RowChanges, RowDeltas
from stream_reco.embedding.table.file import TableFileError
from stream_reco.embedding.table.table import EmbeddingTable

__all__ = [
    "PRECISIONS",
    "SGD",
    "Adagrad",
    "Adam",
    "Admission",
    "After",
    "Delta",
    "EmbeddingTable",
    "Ftrl",
    "Optimizer",
    "Precision",
    "Probability",
    "ReplicaTable",
    "RowChanges",
    "RowDeltas",
    "RowwiseAdagrad",
    "TableFileError",
    "after",
    "probability",
]
