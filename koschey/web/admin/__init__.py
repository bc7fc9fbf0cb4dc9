"""The pages of those who look after Koschey, one module for each group of them."""

from __future__ import annotations

from koschey.web.admin import bulk, decisions, overview, quarantine, version

#: To be registered with the application.
BLUEPRINTS = (overview.bp, quarantine.bp, decisions.bp, bulk.bp, version.bp)
