"""The report: what the views say about a period, as one page for people and as Markdown."""
