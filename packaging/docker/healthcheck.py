"""Ask the service of this container how it is: ``python healthcheck.py [/livez | /readyz]``.

Exit status 0: well; 1: not, or it does not answer. What it says is printed, and ``docker inspect`` shows it.
"""

import http.client
import os
import socket
import sys

SECONDS = 8
"""Less than the image's --timeout, so that there is something to show."""


def main(path: str) -> int:
    """Ask; return the exit status."""
    place = os.environ.get("TSCERT_STATUS_SOCKET", "/run/tscert-trio/status.sock")
    connection = http.client.HTTPConnection("localhost", timeout=SECONDS)
    try:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(SECONDS)
        connection.sock.connect(place)
        connection.request("GET", path)
        response = connection.getresponse()
        print(response.read().decode(errors="replace").strip())
    except (OSError, http.client.HTTPException) as exc:
        print(f"the service does not answer on {place}: {exc}")
        return 1
    finally:
        connection.close()
    return 0 if response.status == http.HTTPStatus.OK else 1


if __name__ == "__main__":
    sys.exit(main(*(sys.argv[1:] or ["/livez"])))
