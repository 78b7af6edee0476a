"""What measuring costs: a streamed reply through dyno's llama-server adapter and `measure`, against a raw socket read.

A server in another process sends the same recorded bytes, as fast as it can, to both. The figures are the client's CPU
time per chunk and per request; they are compared within one run, since machines differ. Run: `make bench`.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

from backends.base import Request
from backends.llama_server import LlamaServer
from backends.workers.server_process import Options
from profiler.measure import measure

CHUNK = (
    'data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":"token"}}],"created":1795178861,'
    '"id":"chatcmpl-2c88RosbSQQ5pVa3n5eKNX8QuLziphNk","model":"m.gguf","object":"chat.completion.chunk"}\n\n'
)
LAST = (
    'data: {"choices":[{"finish_reason":"stop","index":0,"delta":{}}],'
    '"usage":{"prompt_tokens":50,"completion_tokens":9},'
    '"timings":{"cache_n":10,"prompt_n":40,"prompt_ms":2.1,"predicted_n":9,"predicted_ms":1.1}}\n\n'
    "data: [DONE]\n\n"
)

SERVER = """
import http.server, json, sys
CHUNK, LAST = sys.argv[1].encode(), sys.argv[2].encode()
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *a): pass
    def answer(self, body, kind):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self): self.answer(b"{}", "application/json")
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer(CHUNK * asked["max_tokens"] + LAST, "text/event-stream")
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


def main() -> None:
    """Print one JSON object with the costs and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    command = [sys.executable, "-c", SERVER, CHUNK, LAST]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            result = compare(port, arguments.chunks, arguments.rounds)
        finally:
            server.kill()
    print(json.dumps(result, indent=2))


def compare(port: int, chunks: int, rounds: int) -> dict[str, float | int]:
    """Interleaved rounds of both readers with many chunks and with one, so that per chunk and per request separate."""
    engine = LlamaServer(f"http://127.0.0.1:{port}", Options(), process=None)

    def through_dyno(n: int) -> None:
        measured = measure(engine, Request(({"role": "user", "content": "x"},), max_tokens=n))
        assert measured.error is None
        assert len(measured.stamps.deltas_ns) == n

    def through_socket(n: int) -> None:
        body = json.dumps({"max_tokens": n}).encode()
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        head += f"Content-Length: {len(body)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(head.encode() + body)
            received = 0
            while data := connection.recv(65536):
                received += len(data)
        assert received > n * len(CHUNK)

    few, many = 1, chunks
    times: dict[tuple[str, int], list[int]] = {}
    for _ in range(rounds):
        for n in (few, many):
            times.setdefault(("dyno", n), []).append(cpu_ns(partial(through_dyno, n)))
            times.setdefault(("socket", n), []).append(cpu_ns(partial(through_socket, n)))
    engine.close()
    median = {key: statistics.median(values) for key, values in times.items()}
    per_chunk = {name: (median[name, many] - median[name, few]) / (many - few) for name in ("dyno", "socket")}
    return {
        "chunks": chunks,
        "rounds": rounds,
        "dyno_ns_per_chunk": round(per_chunk["dyno"]),
        "socket_ns_per_chunk": round(per_chunk["socket"]),
        "ratio_per_chunk": round(per_chunk["dyno"] / per_chunk["socket"], 2),
        "dyno_ns_per_request": round(median["dyno", few]),
        "socket_ns_per_request": round(median["socket", few]),
        "ratio_per_request": round(median["dyno", few] / median["socket", few], 2),
    }


def cpu_ns(work: Callable[[], None]) -> int:
    """CPU time of this process for one call, ns."""
    start = time.process_time_ns()
    work()
    return time.process_time_ns() - start


if __name__ == "__main__":
    main()
