"""Faults brought about in real processes with production durability, and what is left of the record afterwards."""
