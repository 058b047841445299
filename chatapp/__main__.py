"""The console script, and `python -m chatapp`: little enough that Ctrl+C finds it ready from the start."""

import sys


def main() -> None:
    try:
        from chatapp.cli.app import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
