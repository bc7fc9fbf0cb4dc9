"""The command ``koschey``, also as ``python -m koschey``."""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # see koschey.serving
if TYPE_CHECKING:
    from koschey.serving import Request


def main() -> None:
    """Do what the command line says, and exit."""
    if sys.argv[1:2] == ["serve"]:
        # Its process lives as long as the service, and is not to carry click: a child reads its options.
        from koschey.serving import serve

        sys.exit(serve(_command_line))
    _command_line()


def _command_line(request: Request | None = None) -> None:
    from koschey.cli import main

    main(obj=request)


if __name__ == "__main__":
    main()
