"""Something to call while one tries fliqd: it answers 200 to every request, and shows what came.

`python3 docs/target.py [PORT]`, with nothing but Python; 8000 unless told.
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Target(BaseHTTPRequestHandler):
    """Answers, and shows."""

    def answer(self) -> None:
        """Take the request whole; its line is shown by `send_response`."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.end_headers()
        if body:
            print(body.decode(errors="replace"), flush=True)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 -- http.server's names


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    with ThreadingHTTPServer(("127.0.0.1", port), Target) as server:
        print(
            f"Whatever comes to http://127.0.0.1:{server.server_port} is shown here and answered with 200.", flush=True
        )
        server.serve_forever()
