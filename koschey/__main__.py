"""``python -m koschey``: the same as the command ``koschey``."""

from koschey.cli import main

if __name__ == "__main__":
    main()
