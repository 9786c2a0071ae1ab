"""A real browser for tests of pages, where there is one: Chromium's DevTools protocol over a pair of pipes."""

import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@dataclass
class Browser:
    read: int
    write: int
    session: str | None = None
    waiting: bytes = b""
    asked: int = 0

    def message(self):
        while b"\0" not in self.waiting:
            more = os.read(self.read, 1 << 20)
            assert more, "the browser is gone"
            self.waiting += more
        first, _, self.waiting = self.waiting.partition(b"\0")
        return json.loads(first)

    def call(self, method, **params):
        self.asked += 1
        session = {"sessionId": self.session} if self.session else {}
        os.write(
            self.write, json.dumps({"id": self.asked, "method": method, "params": params, **session}).encode() + b"\0"
        )
        while (found := self.message()).get("id") != self.asked:
            assert found.get("method") != "Runtime.exceptionThrown", found
            assert found.get("method") != "Log.entryAdded", found
        assert "error" not in found, found
        return found["result"]

    def run(self, script):
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def open(self, path, *, width=1200, dark=False):
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=path.as_uri())
        while self.run("document.readyState") != "complete" or self.run("location.protocol") != "file:":
            pass

    def shown(self):
        return self.run("[...document.querySelectorAll('article')].map((sample) => sample.dataset.id)")

    def count(self):
        return self.run("document.querySelector('.count').textContent")


@contextmanager
def browsing():
    theirs, write = os.pipe()
    read, ours = os.pipe()
    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        flags = f"--headless --no-sandbox --disable-gpu --remote-debugging-pipe --user-data-dir={profile}"
        started = subprocess.Popen(
            ["bash", "-c", f'exec "{CHROMIUM}" {flags} about:blank 3<&{theirs} 4>&{ours}'],
            pass_fds=(theirs, ours),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs)
        os.close(ours)
        try:
            browser = Browser(read, write)
            (page,) = [t for t in browser.call("Target.getTargets")["targetInfos"] if t["type"] == "page"]
            attached = browser.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)
            browser.session = attached["sessionId"]
            for part in ("Page", "Runtime", "Log"):
                browser.call(f"{part}.enable")
            yield browser
        finally:
            started.terminate()
            started.wait(20)
            os.close(read)
            os.close(write)


@pytest.fixture(scope="session")
def browser():
    """The browser; whoever asks for it is skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here")
    with browsing() as opened:
        yield opened
