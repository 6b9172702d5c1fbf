"""A training corpus in shards, in a folder or an object storage, fetched as it is read."""
