"""Checks of stored files that run in a process of their own."""
