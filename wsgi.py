"""``gunicorn wsgi:app`` from a checkout."""

from koschey.application import create_app

app = create_app()
