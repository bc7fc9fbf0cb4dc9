"""Pages for developers: projects, search, how to set up tools, asking for what is hidden, their account."""

from koschey.web.developers import account, asks, projects, publishing, search, setup

BLUEPRINTS = (projects.bp, publishing.bp, search.bp, setup.bp, asks.bp, account.bp)
