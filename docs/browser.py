"""Headless Chromium on MLflow's pages: for the documentation's pictures and for the tests."""

import contextlib
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.expected_conditions import text_to_be_present_in_element
from selenium.webdriver.support.ui import WebDriverWait

# No look-ups outside this machine, and none of the browser's own pages.
QUIET = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
_ASSISTANT = "[data-component-id='mlflow.assistant.chat_panel.close']"


def missing() -> str:
    """Return what must be installed before a browser can be driven; empty if nothing."""
    absent = [name for name in ("chromium", "chromedriver") if not shutil.which(name)]
    return f"{' and '.join(absent)} not found on this machine" if absent else ""


@contextlib.contextmanager
def served(output: Path, port: int) -> Iterator[str]:
    """`sweeps ui` on an output root; yields its address."""
    command = [sys.executable, "-m", "sweeps", "ui", f"paths.output={output}", f"--port={port}"]
    address = f"http://127.0.0.1:{port}"
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as server:
        try:
            _wait_for(address, server)
            yield address
        finally:
            server.terminate()


@contextlib.contextmanager
def browser(width: int = 1600, height: int = 900) -> Iterator[WebDriver]:
    """A browser with a fresh profile."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in (*QUIET, f"--window-size={width},{height}"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def show(driver: WebDriver, url: str, *texts: str, seconds: float = 60, settle: float = 1) -> None:
    """Open a page, close MLflow's assistant, and wait until all of these texts are shown.

    Raises:
        selenium.common.TimeoutException: it does not within `seconds`.
    """
    driver.get("about:blank")  # a change of the fragment alone would not load anew
    driver.get(url)
    wait = WebDriverWait(driver, seconds)
    for text in texts:
        wait.until(text_to_be_present_in_element(("tag name", "body"), text))
    for button in driver.find_elements("css selector", _ASSISTANT):
        button.click()
    time.sleep(settle)  # charts draw themselves in


def _wait_for(address: str, server: "subprocess.Popen[bytes]") -> None:
    for _ in range(240):
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{address}/health", timeout=1).close()  # noqa: S310
            return
        if server.poll() is not None:
            break
        time.sleep(0.5)
    raise TimeoutError(f"`sweeps ui` does not answer at {address}")
