"""Random scripts for a TLS transport: on every loop the same callbacks in the same turns, and the same bytes.

Owns: comparing the runs, and the contexts. Leaves out: the scripts and the peer (tls_run.py).
"""

import shutil
import ssl
import subprocess

import pytest
from budget import examples
from hypothesis import given
from tls_run import TlsRun, scripts

from kinds import ASYNCIO, KINDS

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command for a certificate")


@pytest.fixture(scope="module")
def contexts(tmp_path_factory):
    """For a server and for a client, of each version of TLS."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = str(folder / "key.pem"), str(folder / "certificate.pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)

    def pair(version):
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(certificate, key)
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname = False
        client.verify_mode = ssl.CERT_NONE
        client.post_handshake_auth = True
        for context in (server, client):
            context.minimum_version = context.maximum_version = version
        return server, client

    return {"old": pair(ssl.TLSVersion.TLSv1_2), "new": pair(ssl.TLSVersion.TLSv1_3)}


def test_scripts(contexts):
    @examples(300)
    @given(scripts)
    def test(script):
        oracle = TlsRun(ASYNCIO, script, contexts)
        expected = oracle.run()
        for kind in KINDS:
            got = TlsRun(kind, script, contexts).run()
            assert oracle.stumbled or got == expected, kind.name

    test()
