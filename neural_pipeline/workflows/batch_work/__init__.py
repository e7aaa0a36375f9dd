"""How every workflow works off a batch: taking it, judging its events, asking models, committing. Knows no workflow."""
