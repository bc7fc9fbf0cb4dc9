"""The pages of those who look after Koschey, one module for each group of them.

What they say in the words of a rare service, its enumerations and values, is imported by the function that
says it: every worker has these modules, and few ever show a page of them.
"""

from __future__ import annotations

from koschey.web.admin import (
    access,
    access_grants,
    access_groups,
    access_tokens,
    audit,
    bulk,
    decisions,
    indexes,
    jobs,
    overview,
    policies,
    projects,
    quarantine,
    system,
    upstreams,
    version,
)

#: To be registered with the application.
BLUEPRINTS = (
    overview.bp,
    quarantine.bp,
    decisions.bp,
    bulk.bp,
    version.bp,
    upstreams.bp,
    indexes.bp,
    policies.bp,
    access.bp,
    access_groups.bp,
    access_grants.bp,
    access_tokens.bp,
    projects.bp,
    audit.bp,
    jobs.bp,
    system.bp,
)
