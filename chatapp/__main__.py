"""`python -m chatapp` is `chatapp`."""

from chatapp.cli.app import main

if __name__ == "__main__":
    main()
