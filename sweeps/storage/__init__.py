"""Files under the output root: ledger, records, checkpoints, weights, stop requests."""
