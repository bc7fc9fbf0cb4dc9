"""Pages for developers: projects, search, how to set up tools, and asking for what is hidden."""
