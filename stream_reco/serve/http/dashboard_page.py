"""The dashboard page: one document that loads nothing from other hosts."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from importlib.resources import files

SCRIPTS = ("metrics.js", "chart.js", "dashboard.js")
STYLE = "dashboard.css"


@dataclass(frozen=True)
class Page:
    """The page with its style and scripts inside, and headers that let the browser run exactly those."""

    body: bytes
    headers: tuple[tuple[bytes, bytes], ...]

    @classmethod
    def load(cls) -> Page:
        """Put the page together from the package's files."""
        style = _read(STYLE)
        script = "\n".join(_read(name) for name in SCRIPTS)
        document = _read("dashboard.html").replace("/*style*/", style, 1).replace("/*script*/", script, 1)
        policy = (
            "default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
            f"frame-ancestors 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'"
        )
        return cls(
            document.encode(),
            (
                (b"content-security-policy", policy.encode()),
                (b"referrer-policy", b"no-referrer"),
                (b"cache-control", b"no-cache"),
            ),
        )


def _read(name: str) -> str:
    return files("stream_reco.serve.http.dashboard").joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
