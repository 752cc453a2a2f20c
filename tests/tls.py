"""TLS connections, in memory step by step, and over TCP."""

import ssl

import trio
from cryptography import x509

NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME: OpenSSL's clock is not that of the test


def client_context(sandbox, version=None, *, alpn=(), check=True):
    """Return the context of a client that trusts the sandbox's CA."""
    context = ssl.create_default_context(cadata=sandbox.root_pem.decode())
    context.verify_flags |= NO_CHECK_TIME
    context.check_hostname = check
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


class Connection:
    """A client and a server; what one writes the other can read."""

    def __init__(self, server_context, context, name, session=None):
        to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = context.wrap_bio(to_client, to_server, server_hostname=name, session=session)
        self.server = server_context.wrap_bio(to_server, to_client, server_side=True)

        self._steps, self._done = 0, set()

    def step(self):
        """Let one side after the other go on with the handshake; return whether both are done."""
        side = (self.client, self.server)[self._steps % 2]
        self._steps += 1
        try:
            side.do_handshake()
            self._done.add(side)
        except ssl.SSLWantReadError:
            pass
        return len(self._done) == 2

    def finish(self):
        while not self.step():
            pass
        return self

    def echo(self):
        """Send something there and back, so that the client has the tickets, too."""
        self.client.write(b"ping")
        assert self.server.read(10) == b"ping"
        self.server.write(b"pong")
        assert self.client.read(10) == b"pong"
        return self

    @property
    def serial_number(self):
        """Of the certificate that the client was shown."""
        return x509.load_der_x509_certificate(self.client.getpeercert(binary_form=True)).serial_number


def connect(server_context, context, name, session=None):
    """Return a connection that works."""
    return Connection(server_context, context, name, session).finish().echo()


async def ask(port, context, name, request=b"ping"):
    """Return the serial number that a client over TCP is shown, the answer, and the open stream."""
    stream = trio.SSLStream(await trio.open_tcp_stream("127.0.0.1", port), context, server_hostname=name)
    await stream.send_all(request)
    answer = await stream.receive_some()
    certificate = x509.load_der_x509_certificate(stream.getpeercert(binary_form=True))
    return certificate.serial_number, answer, stream
