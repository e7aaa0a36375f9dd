"""`python -m neural_pipeline_tests.guards [WORD...]`: take away each guard whose sentence has one of the words."""

import sys
import tempfile
from pathlib import Path

from neural_pipeline_tests.guards.guard import copy_of_the_program, goes_red
from neural_pipeline_tests.guards.listed import GUARDS


def main(words: list[str]) -> int:
    """Try the guards; return 1 if the tests of one stay green without it."""
    chosen = [guard for guard in GUARDS if not words or any(word in guard.keeps for word in words)]
    red = 0
    with tempfile.TemporaryDirectory(prefix="neural-guards-") as folder:
        Path(folder).chmod(0o711)
        root = copy_of_the_program(Path(folder))
        for guard in chosen:
            is_red = goes_red(guard, root)
            red += is_red
            print(f"{'red  ' if is_red else 'GREEN'} {guard.keeps}", flush=True)
    print(f"guards {len(chosen)} red {red}")
    return 0 if chosen and red == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
