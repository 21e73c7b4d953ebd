"""What lies under the output root: the ledger, records, checkpoints, weights."""
