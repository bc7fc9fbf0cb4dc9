"""The verbs: what Koschey does, with no Flask request and no HTTP."""
