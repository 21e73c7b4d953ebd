"""A tiny OpenML on loopback: what scikit-learn asks of the real one, and how that fails."""

import gzip
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

CLASSES, EACH, D = 3, 10, 16


class OpenmlServer:
    """Thirty images of three classes, in mixed order, under every data set's number.

    Attributes:
        images: (30, 16), whole numbers of 0 .. 255.
        labels: (30,).
        requests: the paths asked for so far.
        quote: what stands around a label in the file.
        md5: the checksum it states; that of the file when empty.
        cut: how many bytes at the end of the compressed file are not sent.
        status: of every answer; anything but 200 is sent without a body.
        silent: never answer.
    """

    def __init__(self):
        generator = np.random.default_rng(0)
        self.images = generator.integers(0, 256, (CLASSES * EACH, D))
        self.labels = generator.permutation(np.arange(CLASSES).repeat(EACH))
        self.requests = []
        self.quote, self.md5, self.cut, self.status, self.silent = "", "", 0, 200, False
        self.closing = threading.Event()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.base = f"http://127.0.0.1:{self.http.server_port}/"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self.thread.start()

    def of_class(self, label):
        """Its images, in the file's order."""
        return self.images[self.labels == label]

    def close(self):
        """Go offline."""
        if self.thread.is_alive():
            self.closing.set()
            self.http.shutdown()
            self.http.server_close()
            self.thread.join()

    def arff(self):
        """The data file."""
        head = [f"@ATTRIBUTE pixel{i} REAL" for i in range(D)]
        names = ",".join(map(str, range(CLASSES)))
        rows = zip(self.images.tolist(), self.labels, strict=True)
        lines = [f"{','.join(map(str, row))},{self.quote}{y}{self.quote}" for row, y in rows]
        head = ["% a stand-in", "@RELATION images", *head, f"@ATTRIBUTE class {{{names}}}", "@DATA"]
        return "\n".join([*head, *lines, ""]).encode()

    def description(self):
        """OpenML's description, the same for every data set."""
        return {
            "id": "1",
            "name": "images",
            "version": "1",
            "format": "ARFF",
            "status": "active",
            "description": "a stand-in",
            "file_id": "1",
            "url": f"{self.base}data/v1/download/1/images.arff",
            "md5_checksum": self.md5 or hashlib.md5(self.arff(), usedforsecurity=False).hexdigest(),
        }

    def features(self):
        """One for each pixel, and the class."""
        names = [f"pixel{i}" for i in range(D)] + ["class"]
        return [
            {
                "index": str(index),
                "name": name,
                "data_type": "nominal" if name == "class" else "numeric",
                "is_target": "true" if name == "class" else "false",
                "is_ignore": "false",
                "is_row_identifier": "false",
                "number_of_missing_values": "0",
            }
            for index, name in enumerate(names)
        ]

    def answer(self, path):
        """The body, not yet compressed."""
        if path.startswith("/data/"):
            return self.arff()
        if "/features/" in path:
            return json.dumps({"data_features": {"feature": self.features()}}).encode()
        if "/qualities/" in path:
            count = {"name": "NumberOfInstances", "value": str(float(len(self.labels)))}
            return json.dumps({"data_qualities": {"quality": [count]}}).encode()
        return json.dumps({"data_set_description": self.description()}).encode()

    def _handler(self):
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.requests.append(self.path)
                if server.silent:
                    server.closing.wait(30)
                    return
                body = gzip.compress(server.answer(self.path)) if server.status == 200 else b""
                if self.path.startswith("/data/"):
                    body = body[: len(body) - server.cut]
                self.send_response(server.status)
                self.send_header("Content-Encoding", "gzip")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        return Handler
