"""Certificates for the length of a test run: an authority, and one server's certificate that it signed."""

import datetime
import ipaddress
import ssl

import pytest


class Certificates:
    """Files for servers (`cert`, `key`, `authority`) and contexts for either end."""

    def __init__(self, folder):
        pytest.importorskip("cryptography", reason="needs the package cryptography, to make certificates")
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import NameOID

        def name(text):
            return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

        def write(path, *blocks):
            path.write_bytes(b"".join(blocks))
            return str(path)

        now = datetime.datetime.now(datetime.UTC)

        def builder(subject, key):
            return (
                x509.CertificateBuilder()
                .subject_name(name(subject))
                .issuer_name(name("test authority"))
                .public_key(key.public_key())
                .serial_number(x509.random_serial_number())
                .not_valid_before(now - datetime.timedelta(days=1))
                .not_valid_after(now + datetime.timedelta(days=1))
            )

        authority_key = ec.generate_private_key(ec.SECP256R1())
        authority = (
            builder("test authority", authority_key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False)
            .add_extension(
                x509.KeyUsage(False, False, False, False, False, True, True, False, False),
                critical=True,
            )
            .sign(authority_key, hashes.SHA256())
        )
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            builder("localhost", key)
            .add_extension(
                x509.SubjectAlternativeName(
                    [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
                ),
                critical=False,
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
            )
            .sign(authority_key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        self.authority = write(folder / "authority.pem", authority.public_bytes(pem))
        self.cert = write(folder / "server.pem", certificate.public_bytes(pem))
        self.key = write(
            folder / "server.key",
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        )

    def server(self, alpn=()):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.cert, self.key)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context

    def client(self):
        return ssl.create_default_context(cafile=self.authority)
