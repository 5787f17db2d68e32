"""A headless Chromium driven through its DevTools pipe: real mouse, keys and media, no package but the browser."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page:
    """An open page; ``errors`` are the exceptions and the console errors of it since it was opened."""

    def __init__(self, send: BinaryIO, receive: BinaryIO) -> None:
        self._send, self._receive = send, receive
        self._session: str | None = None
        self._target = ""
        self._count = 0
        self.errors: list[str] = []
        self.requests: list[str] = []

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the DevTools protocol, and its answer."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        self._send.write(json.dumps(message).encode() + b"\0")
        self._send.flush()
        while True:
            answer = self._next()
            if answer.get("id") == self._count:
                assert "error" not in answer, (method, answer["error"])
                result: dict[str, Any] = answer["result"]
                return result

    def open(self, url: str) -> None:
        """A new tab at a URL in place of the last one, once its scripts have run."""
        self._session, before = None, self._target
        self._target = self.call("Target.createTarget", url="about:blank")["targetId"]
        if before:
            self.call("Target.closeTarget", targetId=before)
        self._session = self.call("Target.attachToTarget", targetId=self._target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def js(self, expression: str) -> Any:
        """The value of an expression in the page, once the frames before it are drawn; a promise is awaited."""
        drawn = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        code = f"{drawn}.then(() => ({expression}))"
        answer = self.call("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, expression: str, tries: int = 500) -> None:
        """Returns when an expression has become true."""
        assert any(self.js(expression) for _ in range(tries)), expression

    def media(self, width: int, height: int, scheme: str = "light", touch: bool = False) -> None:
        """The size of the window, and the reader's preference for light or dark."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=touch)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Emulation.setTouchEmulationEnabled", enabled=touch)

    def mouse(self, kind: str, x: float, y: float) -> None:
        """``move``, ``press`` or ``release`` at a point of the window."""
        names = {"move": "mouseMoved", "press": "mousePressed", "release": "mouseReleased"}
        held = {} if kind == "move" else {"clickCount": 1}
        self.call("Input.dispatchMouseEvent", type=names[kind], x=x, y=y, button="left", buttons=1, **held)

    def hover(self, x: float, y: float) -> None:
        """The mouse at a point, without a button."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, selector: str) -> None:
        """A click in the middle of an element."""
        x, y, width, height = self.box(selector)
        for kind in ("press", "release"):
            self.mouse(kind, x + width / 2, y + height / 2)

    def touch(self, *points: tuple[float, float]) -> None:
        """One finger down at the first point, along the others, and up."""
        for index, (x, y) in enumerate(points):
            kind = "touchMove" if index else "touchStart"
            self.call("Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": x, "y": y}])
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def key(self, name: str, times: int = 1) -> None:
        """A key pressed and let go."""
        codes = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Tab": 9, "Escape": 27, "Enter": 13}
        text = {"text": "\r"} if name == "Enter" else {}
        for _ in range(times):
            for kind in ("keyDown", "keyUp"):
                code = {"key": name, "code": name, "windowsVirtualKeyCode": codes[name]}
                self.call("Input.dispatchKeyEvent", type=kind, **code, **(text if kind == "keyDown" else {}))

    def box(self, selector: str) -> tuple[float, float, float, float]:
        """Left, top, width and height of an element, which is scrolled to the middle of the window."""
        find = f"document.querySelector({json.dumps(selector)})"
        self.js(f"{find}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        found = self.js(f"(({{x, y, width, height}}) => [x, y, width, height])({find}.getBoundingClientRect())")
        return found[0], found[1], found[2], found[3]

    def screenshot(self, path: Path, whole: bool = False) -> None:
        """A PNG of the window, or of the whole page."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))

    def _next(self) -> dict[str, Any]:
        data = bytearray()
        while (byte := self._receive.read(1)) != b"\0":
            assert byte, "the browser has gone"
            data += byte
        answer: dict[str, Any] = json.loads(data)
        self._note(answer.get("method"), answer.get("params", {}))
        return answer

    def _note(self, event: str | None, said: dict[str, Any]) -> None:
        if event == "Runtime.exceptionThrown":
            self.errors.append(said["exceptionDetails"].get("exception", {}).get("description", str(said)))
        elif event == "Log.entryAdded" and said["entry"]["level"] in ("error", "warning"):
            self.errors.append(said["entry"]["text"])
        elif event == "Runtime.consoleAPICalled" and said["type"] in ("error", "assert", "warning"):
            self.errors.append(str(said["args"]))
        elif event == "Network.requestWillBeSent" and not said["request"]["url"].startswith("data:"):
            self.requests.append(said["request"]["url"])


@contextmanager
def browser() -> Iterator[Page]:
    """A browser of its own, without profile and network, that is gone afterwards."""
    assert PROGRAM, "there is no chromium here: apt-get install chromium"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [PROGRAM, "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu"]
        command += ["--hide-scrollbars", "--disable-dev-shm-usage", "--no-first-run", f"--user-data-dir={profile}"]
        command += ["--disable-background-networking", "--disable-component-update", "--disable-extensions"]
        (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(3, 4),
            preexec_fn=_at_three_and_four(theirs_in, theirs_out),
        )
        os.close(theirs_in)
        os.close(theirs_out)
        try:
            with os.fdopen(ours_out, "wb") as send, os.fdopen(ours_in, "rb") as receive:
                page = Page(send, receive)
                yield page
                page.call("Browser.close")
        finally:
            process.kill()
            process.wait()


def _at_three_and_four(first: int, second: int) -> Callable[[], None]:
    """What the child does before it becomes the browser: its commands come in at 3, its answers go out at 4."""
    return partial(_place, first, second)


def _place(first: int, second: int) -> None:
    high = [fcntl.fcntl(one, fcntl.F_DUPFD, 64) for one in (first, second)]
    for descriptor, source in zip((3, 4), high, strict=True):
        os.dup2(source, descriptor)
        os.close(source)
