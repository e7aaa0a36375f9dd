"""Moving a workspace's observations and clusters to another embedder. Which one, the command line says."""
