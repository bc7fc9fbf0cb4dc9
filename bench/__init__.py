"""Koschey beside static nginx, on this machine, in one interleaved run: ``python -m bench --help``."""
