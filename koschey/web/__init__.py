"""The HTTP face: parse, ask a service, render."""
