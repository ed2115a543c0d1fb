"""``python -m solvers``: solve, look at, convert, simulate and compare POMDP files."""

from solvers.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
