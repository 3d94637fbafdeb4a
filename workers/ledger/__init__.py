"""The ledger: the state machine that owns the money of one account shard, and its process."""
