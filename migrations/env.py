"""Runs the migrations on the application's engine (Flask-Migrate asks for this module by name)."""

from __future__ import annotations

from alembic import context
from flask import current_app

database = current_app.extensions["migrate"].db

if context.is_offline_mode():
    context.configure(
        url=str(database.engine.url),
        target_metadata=database.metadata,
        literal_binds=True,
        render_as_batch=True,
    )
    with context.begin_transaction():
        context.run_migrations()
else:
    # One transaction for all steps: a migration that is killed half-way leaves the schema as it was.
    engine = database.engine.execution_options(koschey_writes=True)
    with engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=database.metadata,
            render_as_batch=True,
            transactional_ddl=True,  # SQLite, too: Alembic would commit between the steps
        )
        with context.begin_transaction():
            context.run_migrations()
