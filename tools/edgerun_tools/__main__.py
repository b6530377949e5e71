"""`python -m edgerun_tools` is the same as `edgerun`."""

from edgerun_tools.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
