"""The embedded Postgres server, and what any Postgres has to offer. The pipeline's own tables live in `store`."""
