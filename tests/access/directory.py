"""A real OpenLDAP server (Debian's slapd) with a few people in it, for the tests of the LDAP plug-in."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path

import trustme

BASE = "dc=acme,dc=example"
READER = f"cn=koschey,{BASE}"
_PLACES = ("/usr/sbin", "/usr/local/sbin", "/usr/lib/openldap", "/usr/local/libexec")
_LDIF = f"""\
dn: {BASE}
objectClass: dcObject
objectClass: organization
o: Acme
dc: acme

dn: {READER}
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: koschey
userPassword: hush

dn: ou=people,{BASE}
objectClass: organizationalUnit
ou: people

dn: ou=groups,{BASE}
objectClass: organizationalUnit
ou: groups

dn: uid=anna,ou=people,{BASE}
objectClass: inetOrgPerson
uid: anna
cn: Anna
sn: A
userPassword: open sesame

dn: uid=bob,ou=people,{BASE}
objectClass: inetOrgPerson
uid: bob
cn: Bob
sn: B
userPassword: bob's own

dn: cn=build,ou=groups,{BASE}
objectClass: groupOfNames
cn: build
member: uid=anna,ou=people,{BASE}
"""
_CONFIGURATION = """\
include {schema}/core.schema
include {schema}/cosine.schema
include {schema}/inetorgperson.schema
pidfile {folder}/slapd.pid
argsfile {folder}/slapd.args
{module}
TLSCACertificateFile {folder}/ca.pem
TLSCertificateFile {folder}/server.pem
TLSCertificateKeyFile {folder}/server.key
database mdb
suffix "{base}"
rootdn "cn=root,{base}"
directory {folder}/data
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="cn=koschey,{base}" read by * none
"""


def slapd() -> str | None:
    """Where the server's program is, if this machine has it."""
    return shutil.which("slapd") or next((f for p in _PLACES if (f := shutil.which("slapd", path=p))), None)


class Directory:
    """A running directory below ``folder``, until ``close``."""

    def __init__(self, folder: Path, program: str) -> None:
        self.folder = folder
        self.ca_file = folder / "ca.pem"
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.ca_file))
        server = authority.issue_cert("localhost")
        server.cert_chain_pems[0].write_to_path(str(folder / "server.pem"))
        server.private_key_pem.write_to_path(str(folder / "server.key"))
        (folder / "data").mkdir()
        schema = next(p for p in ("/etc/ldap/schema", "/etc/openldap/schema") if Path(p).is_dir())
        modules = [p for p in ("/usr/lib/ldap", "/usr/lib64/openldap") if Path(p, "back_mdb.so").exists()]
        module = f"modulepath {modules[0]}\nmoduleload back_mdb" if modules else ""
        configuration = folder / "slapd.conf"
        configuration.write_text(
            _CONFIGURATION.format(folder=folder, schema=schema, base=BASE, module=module)
        )
        (folder / "people.ldif").write_text(_LDIF)
        add = [program, "-T", "add", "-f", str(configuration), "-l", str(folder / "people.ldif")]
        subprocess.run(add, check=True, capture_output=True, timeout=60)
        self.port, self.tls_port = _free_port(), _free_port()
        addresses = f"ldap://127.0.0.1:{self.port} ldaps://127.0.0.1:{self.tls_port}"
        with (folder / "slapd.log").open("wb") as log:
            self._process = subprocess.Popen(
                [program, "-f", str(configuration), "-h", addresses, "-d", "0"], stdout=log, stderr=log
            )
        self._wait()

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(30)

    def _wait(self) -> None:
        deadline = time.monotonic() + 30
        while True:
            assert self._process.poll() is None, (self.folder / "slapd.log").read_text()
            try:
                socket.create_connection(("127.0.0.1", self.tls_port), timeout=1).close()
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            else:
                return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
