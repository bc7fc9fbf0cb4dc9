"""The set that mirrors take: 2,000 projects of seven files or so, as bandersnatch and Koschey ask for it."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from bench import archives
from bench.pages import JSON

#: Counted up when the tree below changes.
RECIPE = 1
PROJECTS = 2_000
_BEGIN = datetime(2024, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)


def build(work: Path) -> tuple[Path, int]:
    """The tree's root below ``work``, and how many files it has; built when it is not there."""
    root = work / "mirrored"
    stamp = root / "recipe"
    wanted = f"{RECIPE} {PROJECTS}"
    if not stamp.is_file() or not stamp.read_text(encoding="ascii").startswith(wanted + " "):
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        files = sum(_project(root, number) for number in range(PROJECTS))
        projects = [{"name": name_of(n), "_last-serial": 1000 + n} for n in range(PROJECTS)]
        meta = {"api-version": "1.4", "_last-serial": 1000 + PROJECTS}
        _write(root / "simple" / "index.v1_json", {"meta": meta, "projects": projects})
        stamp.write_text(f"{wanted} {files}", encoding="ascii")
    return root, int(stamp.read_text(encoding="ascii").split()[2])


def name_of(number: int) -> str:
    """The name of one of the projects."""
    return f"mirrored-{number:04}"


def _project(root: Path, number: int) -> int:
    name, draw = name_of(number), random.Random(number)
    listed: list[dict[str, object]] = []
    releases: dict[str, list[dict[str, object]]] = {}
    for order in range(draw.randrange(2, 6)):
        version = f"1.{order}"
        core = archives.metadata(name, version, ())
        payload = draw.randrange(2_000, 20_000)
        wheel = archives.wheel(name, version, core, payload=payload, tag="py3-none-any")
        sdist = archives.sdist(name, version, core)
        stem = name.replace("-", "_")
        uploaded = _BEGIN + timedelta(minutes=number, seconds=order)
        releases[version] = [
            _publish(root, f"{stem}-{version}-py3-none-any.whl", wheel, uploaded, listed),
            _publish(root, f"{stem}-{version}.tar.gz", sdist, uploaded, listed),
        ]
    serial = 1000 + number
    page = {
        "meta": {"api-version": "1.4", "_last-serial": serial},
        "name": name,
        "versions": list(releases),
        "files": listed,
    }
    _write(root / "simple" / name / "index.v1_json", page)
    info = {"name": name, "version": next(reversed(releases)), "summary": ""}
    document = {"info": info, "last_serial": serial, "releases": releases, "urls": []}
    folder = root / "pypi" / name
    folder.mkdir(parents=True)
    (folder / "json").write_text(json.dumps(document), encoding="utf-8")
    return len(listed)


def _publish(
    root: Path, filename: str, content: bytes, uploaded: datetime, listed: list[dict[str, object]]
) -> dict[str, object]:
    key = hashlib.blake2b(filename.encode() + content, digest_size=32).hexdigest()
    path = f"/packages/{key[:2]}/{key[2:4]}/{key[4:]}/{filename}"
    target = root / path.lstrip("/")
    target.parent.mkdir(parents=True)
    target.write_bytes(content)
    sha256, time = hashlib.sha256(content).hexdigest(), uploaded.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    size = len(content)
    common = {"filename": filename, "size": size, "yanked": False, "requires-python": ">=3.9"}
    listed.append(common | {"url": path, "hashes": {"sha256": sha256}, "upload-time": time})
    return {
        "filename": filename,
        "url": "@ORIGIN@" + path,
        "digests": {"sha256": sha256, "md5": ""},
        "size": size,
        "packagetype": "bdist_wheel" if filename.endswith(".whl") else "sdist",
        "upload_time_iso_8601": time,
        "yanked": False,
    }


def _write(path: Path, document: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.encode(document))


CONFIG = f"""
worker_processes 2;
pid {{folder}}/nginx.pid;
error_log {{folder}}/error.log warn;
{{user}}
events {{{{ worker_connections 1024; }}}}
http {{{{
  types {{{{ {JSON} v1_json; application/json json; }}}}
  default_type application/octet-stream;
  client_body_temp_path {{folder}}/body; proxy_temp_path {{folder}}/proxy;
  fastcgi_temp_path {{folder}}/fastcgi; uwsgi_temp_path {{folder}}/uwsgi; scgi_temp_path {{folder}}/scgi;
  sendfile on; tcp_nopush on; tcp_nodelay on;
  keepalive_timeout 60s; keepalive_requests 100000000;
  open_file_cache max=40000 inactive=600s; open_file_cache_valid 600s;
  log_format paths '$request_method $request_uri $status';
  server {{{{
    listen 127.0.0.1:{{port}}; access_log {{folder}}/access.log paths;
    root {{root}};
    location = /simple {{{{ default_type {JSON}; alias {{root}}/simple/index.v1_json; }}}}
    location /simple/ {{{{ index index.v1_json; }}}}
    location /pypi/ {{{{
      add_header X-PyPI-Last-Serial 999999; default_type application/json;
      sub_filter_types application/json; sub_filter_once off;
      sub_filter '@ORIGIN@' 'http://127.0.0.1:{{port}}';
    }}}}
  }}}}
}}}}
"""
"""nginx as the upstream of both."""
