"""A local web page with the dashboard's custom widgets, as the CloudWatch console shows them.

Like the console, it invokes the function with a widgetContext, puts the answer into the page, and lets
buttons and forms work. No script of a widget can run: the page's policy allows only the page's own script.
"""

import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.local.aws.local_aws import FunctionError, LocalAws, Outputs, is_free

PORT = 8401


@contextmanager
def dashboard(aws: LocalAws, outputs: Outputs) -> Iterator[str]:
    """Serve the page while the context lasts. Yields its address."""
    server = _Server(("127.0.0.1", PORT if is_free(PORT) else 0), _Handler)
    server.aws, server.outputs = aws, outputs
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def custom_widgets(aws: LocalAws, outputs: Outputs) -> list[dict[str, Any]]:
    """The properties of the deployed dashboard's custom widgets."""
    _, _, name = outputs["DashboardUrl"].rpartition("/")
    body = json.loads(aws.client("cloudwatch").get_dashboard(DashboardName=name)["DashboardBody"])
    return [widget["properties"] for widget in body["widgets"] if widget["type"] == "custom"]


def ask(aws: LocalAws, outputs: Outputs, params: dict[str, Any], context: dict[str, Any]) -> Any:
    """The function's answer to a request as CloudWatch sends it."""
    return aws.invoke(outputs["DashboardFunction"], {**params, "widgetContext": context})


def dashboard_page(theme: str, nonce: str, widgets: list[dict[str, Any]]) -> str:
    """The page as HTML, before its script has asked for the widgets."""
    panels = "".join(
        f"<section><h2>{escape(widget['title'])}</h2>"
        f'<div class="widget" data-params="{escape(json.dumps(widget["params"]))}"></div></section>'
        for widget in widgets
    )
    page = Template(Path(__file__).with_suffix(".html").read_text())
    return page.substitute(theme=theme, nonce=nonce, panels=panels)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    aws: LocalAws
    outputs: Outputs


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        if asked.path != "/" or not self._is_for_us():
            self.send_error(404)
            return
        nonce = secrets.token_urlsafe()
        theme = "dark" if parse_qs(asked.query).get("theme") == ["dark"] else "light"
        policy = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'unsafe-inline'; "
            "img-src https: http://127.0.0.1:*; "
            "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
        )
        self._answer(
            dashboard_page(theme, nonce, custom_widgets(self.server.aws, self.server.outputs)), policy
        )

    def do_POST(self) -> None:
        if self.path != "/widget" or not self._is_for_us():
            self.send_error(404)
            return
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            shown = ask(self.server.aws, self.server.outputs, asked["params"], asked["widgetContext"])
        except FunctionError as error:
            shown = f"<pre>{escape(str(error))}</pre>"
        # The simulated Clerk serves its pictures without TLS.
        self._answer(shown.replace('src="https://127.0.0.1:', 'src="http://127.0.0.1:'), "default-src 'none'")

    def _is_for_us(self) -> bool:
        # Otherwise a foreign web site whose name resolves to this machine could read a real instance's users.
        port = self.server.server_port
        return self.headers["Host"] in (f"127.0.0.1:{port}", f"localhost:{port}")

    def _answer(self, text: str, policy: str) -> None:
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Security-Policy", policy)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Print nothing: the terminal shows the addresses."""
