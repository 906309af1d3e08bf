"""What lies on disk: checkpoints, the event log, RocksDB, the lock of a folder."""
