"""What a view may use: the services of the application that handles the request."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from flask import current_app, request

from koschey.stores.database import close_connections
from koschey.web.packages import Packages

if TYPE_CHECKING:
    from koschey.jobs.standing import QueueStanding
    from koschey.services.accounts import Accounts
    from koschey.services.audit import Audit
    from koschey.services.checklist import Checklist
    from koschey.services.directory import Directory
    from koschey.services.doctor import Doctor
    from koschey.services.grants import Grants
    from koschey.services.groups import Groups
    from koschey.services.password_links import PasswordLinks
    from koschey.services.setup import Setup
    from koschey.services.tokens import Tokens


class Koschey(Packages):
    """Everything that ``create_app`` put together, and what is put together when it is first asked for.

    The latter is what only the command line and rare pages use: an idle worker need not carry it.
    """

    @cached_property
    def accounts(self) -> Accounts:
        from koschey.services.accounts import Accounts

        return Accounts(self.database, self.passwords)

    @cached_property
    def audit(self) -> Audit:
        from koschey.services.audit import Audit

        return Audit(self.database)

    @cached_property
    def checklist(self) -> Checklist:
        from koschey.services.checklist import Checklist

        return Checklist(self.database, self.settings)

    @cached_property
    def directory(self) -> Directory:
        from koschey.services.directory import Directory

        return Directory(self.database)

    @cached_property
    def doctor(self) -> Doctor:
        from koschey.services.doctor import Doctor

        return Doctor(
            self.settings,
            self.database,
            self.configuration,
            self.store,
            self.queue,
            self.probe,
            self.metrics,
            swept_at=getattr(self.queue, "ran_at", None),
        )

    @cached_property
    def grants(self) -> Grants:
        from koschey.services.grants import Grants

        return Grants(self.database)

    @cached_property
    def groups(self) -> Groups:
        from koschey.services.groups import Groups

        return Groups(self.database)

    @cached_property
    def password_links(self) -> PasswordLinks:
        from koschey.services.password_links import PasswordLinks

        return PasswordLinks(self.database, self.passwords, self.secret_key)

    @cached_property
    def setup(self) -> Setup:
        from koschey.services.setup import Setup

        return Setup(self.database, self.passwords, self.secret_key)

    @cached_property
    def tokens(self) -> Tokens:
        from koschey.services.tokens import Tokens

        return Tokens(self.database)

    def queue_standing(self) -> QueueStanding:
        """How the queues stand, and what this process has done from time to time."""
        from koschey.jobs.standing import standing_of

        return standing_of(self.queue, self.schedule.periodic)

    def database_words(self) -> str:
        """Which database this is, for people."""
        version = ".".join(map(str, getattr(self.engine.dialect, "server_version_info", None) or ()))
        return f"{self.engine.dialect.name} {version}".strip()

    def close(self) -> None:
        """Let go of threads and connections, for a clean stop."""
        self.schedule.close()
        self.lull.close()
        self.usage.close()
        self.hourly.close()
        self.token_uses.close()
        self.queue.close()
        self.files.close()
        self.checking.close()
        for name in ("uploads", "descriptions"):
            if name in self.__dict__:
                self.__dict__[name].close()
        self.client.close()
        self.lookup.connections.close()
        close_connections(self.engine)


def koschey() -> Koschey:
    """The services of the current application."""
    services = current_app.extensions["koschey"]
    assert isinstance(services, Koschey)
    return services


def base_url(prefix: str) -> str:
    """Scheme, host and path prefix of an index as the client sees it, no slash at the end."""
    public = koschey().settings.public_url.rstrip("/")
    return (public or request.host_url.rstrip("/") + request.script_root) + prefix
