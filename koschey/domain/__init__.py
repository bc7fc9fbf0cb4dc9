"""Pure rules: standard library, packaging and msgspec only; no I/O, no clock, no Flask."""
