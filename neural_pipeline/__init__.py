"""Engineering events become a searchable memory, and every execution leaves a row that tells the truth."""
