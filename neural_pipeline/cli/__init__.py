"""The `neural` command: one module per group of commands. What they do stands in `store`, `sources` and `postgres`."""
