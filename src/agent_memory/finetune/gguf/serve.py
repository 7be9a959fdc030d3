"""llama.cpp's server out of the package xllamacpp, as a program that takes the arguments of llama-server that we use.

Run by its path; it imports nothing of ours. The key comes as LLAMA_API_KEY.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
from pathlib import Path


def main(argv: list[str]) -> None:
    import xllamacpp

    given = _parse(argv)
    params = xllamacpp.CommonParams()
    params.model.path = given.model
    params.hostnames = [given.host]
    params.port = given.port
    params.n_ctx = given.ctx_size
    params.n_parallel = given.parallel
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = given.threads
    params.use_jinja = given.jinja
    params.ui = not given.no_webui
    params.offline = given.offline
    if key := os.environ.get("LLAMA_API_KEY"):
        params.api_keys = [key]
    if given.chat_template_file:
        params.chat_template = Path(given.chat_template_file).read_text(encoding="utf-8")
    if given.lora:
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(given.lora, 1.0)]
    server = xllamacpp.Server(params)
    print(f"listening on {server.listening_address}", flush=True)  # noqa: T201 - this is a program
    threading.Event().wait()


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--ctx-size", type=int, default=4096)
    parser.add_argument("--parallel", type=int, default=1)
    parser.add_argument("--threads", type=int, default=-1)
    parser.add_argument("--jinja", action="store_true")
    parser.add_argument("--no-webui", action="store_true")
    parser.add_argument("--offline", action="store_true")
    parser.add_argument("--chat-template-file")
    parser.add_argument("--lora")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main(sys.argv[1:])
