"""asyncssh, both ends: commands, SFTP, a forwarded port, a connection that is dropped."""

import asyncio
import os

import pytest

asyncssh = pytest.importorskip("asyncssh", reason="needs the package asyncssh")


class Server(asyncssh.SSHServer):
    def begin_auth(self, username):
        return False

    def connection_requested(self, dest_host, dest_port, orig_host, orig_port):
        return True


async def command(process):
    if process.command == "upper":
        async for line in process.stdin:
            process.stdout.write(line.upper())
    elif process.command == "wait":
        await asyncio.Event().wait()
    process.exit(7)


@pytest.fixture
def connected(run, tmp_path):
    """Run a function of one connection to a server, and the port of that server."""

    def connected(function):
        async def main():
            async with (
                asyncssh.listen(
                    "127.0.0.1",
                    0,
                    server_factory=Server,
                    server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
                    process_factory=command,
                    sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=str(tmp_path)),
                ) as server,
                asyncssh.connect(
                    "127.0.0.1", server.get_port(), known_hosts=None, username="any", config=None, client_keys=None
                ) as connection,
            ):
                return await function(connection)

        return run(main())

    return connected


def test_a_command(connected):
    async def main(connection):
        results = await asyncio.gather(*(connection.run("upper", input=f"abc{n}\n" * 200) for n in range(9)))
        return [(result.stdout, result.exit_status) for result in results]

    assert connected(main) == [(f"ABC{n}\n" * 200, 7) for n in range(9)]


def test_sftp(connected, tmp_path):
    content = os.urandom(3_000_000)

    async def main(connection):
        async with connection.start_sftp_client() as sftp:
            async with sftp.open("/there", "wb") as file:
                await file.write(content)
            await sftp.rename("/there", "/here")
            async with sftp.open("/here", "rb") as file:
                return await file.read()

    assert connected(main) == content
    assert (tmp_path / "here").read_bytes() == content


def test_a_forwarded_port(connected):
    async def main(connection):
        async def echo(reader, writer):
            writer.write(await reader.read())
            writer.close()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        target = server.sockets[0].getsockname()[1]
        async with server, connection.forward_local_port("127.0.0.1", 0, "127.0.0.1", target) as tunnel:
            reader, writer = await asyncio.open_connection("127.0.0.1", tunnel.get_port())
            writer.write(b"x" * 1_000_000)
            writer.write_eof()
            received = await reader.read()
            writer.close()
            await writer.wait_closed()
            return len(received)

    assert connected(main) == 1_000_000


def test_a_command_cut_off(connected):
    async def main(connection):
        process = await connection.create_process("wait")
        with pytest.raises(asyncio.TimeoutError):
            await process.wait(timeout=0.05)
        connection.abort()
        assert (await process.wait()).exit_status is None
        with pytest.raises(asyncssh.Error):
            await connection.run("upper")

    connected(main)
