"""``python -m kosmos_eval``: the command line."""

from kosmos_eval.cli.app import main

if __name__ == "__main__":
    main()
