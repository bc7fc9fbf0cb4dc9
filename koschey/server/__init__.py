"""The HTTP server of ``koschey serve``: aiohttp's low-level server on uvloop in front of a WSGI application.

aiohttp keeps the reason phrase of an answer, which pip and twine print and which the faster WSGI
servers drop; and a ready-made answer written where the bytes arrive (``protocol``) saves the hop to a
thread, which made it the fastest of those measured.

``supervisor`` forks and watches ``worker`` processes; ``bridge`` runs the application in threads.
This package imports nothing of the web application: it is given one.
"""
