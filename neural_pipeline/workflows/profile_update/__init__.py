"""Keeping the profile of everybody who acts: counted from the observations stored, each person once."""
