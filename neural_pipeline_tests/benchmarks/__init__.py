"""Measurements, started by hand: each module is a program that prints its numbers."""
