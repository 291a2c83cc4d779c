"""A real mosquitto, started by the test: plain, with passwords, with TLS; stopped, killed and started again."""

import os
import shutil
import socket
import subprocess
import time
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address

import pytest

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
needs_mosquitto = pytest.mark.skipif(MOSQUITTO is None, reason="needs a broker: apt-get install mosquitto")

STAY_ROOT = ["user root"] if os.geteuid() == 0 else []  # else it may not read the test's files


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Mosquitto:
    """One broker on a port of its own."""

    def __init__(self, folder, *lines):
        self.folder, self.port = folder, free_port()
        self.config = folder / f"mosquitto-{self.port}.conf"
        self.config.write_text("\n".join([f"listener {self.port} 127.0.0.1", *STAY_ROOT, *lines]) + "\n")
        self.process = None
        self.start()

    def start(self):
        log = (self.folder / "broker.log").open("ab")
        self.process = subprocess.Popen([MOSQUITTO, "-c", str(self.config)], stdout=log, stderr=log, cwd=self.folder)
        log.close()
        while not self.answers():
            assert self.process.poll() is None, (self.folder / "broker.log").read_text()
            time.sleep(0.01)

    def answers(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self):
        self.process.kill()
        self.process.wait()


def certificate(folder, name, issuer=None, *, host="127.0.0.1"):
    """A key and a certificate, signed by an issuer or by itself; writes NAME.key, NAME.pem and returns both objects."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer_key, issuer_name = (key, subject) if issuer is None else (issuer[0], issuer[1].subject)
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(host))]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
        .add_extension(
            x509.KeyUsage(True, False, False, False, False, issuer is None, issuer is None, False, False), critical=True
        )
        .sign(issuer_key, hashes.SHA256())
    )
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (folder / f"{name}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return key, made
