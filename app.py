"""``flask run`` and ``flask db`` from a checkout."""

from flask_migrate import Migrate

from koschey.application import create_app
from koschey.stores.database import db

app = create_app()
Migrate(app, db, render_as_batch=True)
