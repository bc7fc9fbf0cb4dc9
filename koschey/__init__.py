"""Koschey, the package keeper: a company's own Python package index."""

__version__ = "0.1.0"
