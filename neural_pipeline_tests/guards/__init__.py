"""The guards behind the promise: each is taken away in a copy of the program, and its tests must go red."""
