"""What the metrics say: views and their catalogue, assets, checks, and the report. Rows are written elsewhere."""
