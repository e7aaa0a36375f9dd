"""Moving new vectors into the part that has indexes for approximate search. Finding something is in `store.search`."""
