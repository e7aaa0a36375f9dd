"""Everything that speaks to Postgres, one module per table family. Functions take a connection; the caller owns it."""
