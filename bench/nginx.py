"""nginx in its three parts: Koschey's upstream, the static limit, and the proxy in front of Koschey."""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.processes import BenchError, environment, free_port, running, wait_for_port

_CONFIG = """
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
{user}
events {{ worker_connections 1024; }}
http {{
  types {{ application/vnd.pypi.simple.v1+json v1_json; text/html html; text/plain metadata; }}
  default_type application/octet-stream;
  charset_types text/plain;
  map $http_accept $page {{
    default index.html;
    "~application/vnd\\.pypi\\.simple\\.(v1|latest)\\+json" index.v1_json;
  }}
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  sendfile on; tcp_nopush on; tcp_nodelay on;
  keepalive_timeout 60s; keepalive_requests 100000000;
  open_file_cache max=20000 inactive=600s; open_file_cache_valid 600s;
  log_format paths '$request_uri';

  upstream koschey {{ server 127.0.0.1:{koschey}; keepalive 32; }}
  server {{
    listen 127.0.0.1:{upstream}; access_log {folder}/access.log paths;
    {tree}
  }}
  server {{
    listen 127.0.0.1:{static}; access_log off;
    {tree}
  }}
  server {{
    listen 127.0.0.1:{front}; access_log off;
    location / {{
      proxy_pass http://koschey; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
    }}
    location {accel} {{ internal; alias {blobs}/; }}
  }}
}}
"""
_TREE = """root {root};
    location /simple/ {{
      gzip_static on; gzip_vary on; add_header Vary Accept;
      try_files ${{uri}}$page =404;
    }}
    location /packages/ {{ charset utf-8; }}"""

#: The location that Koschey is told to name in X-Accel-Redirect.
ACCEL = "/_blobs/"


@dataclass(frozen=True)
class Nginx:
    """A running nginx: the origins of its parts, and the port where it expects Koschey."""

    upstream: str
    static: str
    front: str
    koschey_port: int
    access_log: Path

    @contextmanager
    def counting(self) -> Iterator[Counter[str]]:
        """The requests to the upstream in the meantime by path; filled at the exit."""
        start = self.access_log.stat().st_size
        counts: Counter[str] = Counter()
        yield counts
        # nginx writes the line after the answer.
        time.sleep(0.2)
        with self.access_log.open(encoding="ascii") as log:
            log.seek(start)
            counts.update(log.read().splitlines())


def binary() -> str:
    """Where nginx is. Raises: BenchError, with what to install."""
    # Distributions put it where only root's PATH leads.
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
    if found := shutil.which("nginx", path=path):
        return found
    raise BenchError("the benchmark needs nginx on PATH: install the package nginx (1.19.5 or newer)")


@contextmanager
def serving(folder: Path, tree: Path, data: Path) -> Iterator[Nginx]:
    """nginx over the synthetic ``tree``; its own files in ``folder``; Koschey's data folder is ``data``."""
    folder.mkdir()
    koschey, upstream, static, front = (free_port() for _ in range(4))
    config = _CONFIG.format(
        folder=folder,
        # As root it would change to a user who may not read the tree.
        user="user root;" if os.geteuid() == 0 else "",
        koschey=koschey,
        upstream=upstream,
        static=static,
        front=front,
        tree=_TREE.format(root=tree),
        accel=ACCEL,
        blobs=data / "files",
    )
    (folder / "nginx.conf").write_text(config, encoding="utf-8")
    log = folder / "error.log"
    command = [binary(), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(log)]
    with running([*command, "-g", "daemon off;"], log, environment(folder)) as process:
        wait_for_port(process, static, log)
        yield Nginx(
            upstream=f"http://127.0.0.1:{upstream}",
            static=f"http://127.0.0.1:{static}",
            front=f"http://127.0.0.1:{front}",
            koschey_port=koschey,
            access_log=folder / "access.log",
        )
