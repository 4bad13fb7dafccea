"""Show the page of runs in a browser, as they go on. It only reads them: closing it does nothing to a run."""

from __future__ import annotations

import argparse
import os
import sys
import webbrowser
from contextlib import suppress
from pathlib import Path

from cllm import env
from cllm.cli.gathering import gathered_for
from cllm.cli.options import add_plugin_options, whole
from cllm.reporting.live import Live
from cllm.reporting.server import Server

EXAMPLE = """\
examples:
  cllm watch runs/demo-1
  cllm watch runs/demo-1 runs/demo-2 --port 8000 --no-browser"""

POLITENESS = 10  # of nice: where cores are short, the run has them


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="a run folder, also of a run that goes on")
    parser.add_argument("--port", type=whole(1, 65535), metavar="N",
                        help="the port of 127.0.0.1 to listen on; left out, one that is free")
    parser.add_argument("--no-browser", action="store_true", help="print the address, and open no browser")
    add_plugin_options(parser)


def run(options: argparse.Namespace) -> int:
    live = Live([(path, gathered_for(options, path)) for path in options.runs])
    with Server(live, options.port) as server, suppress(KeyboardInterrupt):
        print(f"watch: {server.address}\nCtrl-C ends this page, and no run", flush=True)
        if not options.no_browser and sys.stdout.isatty() and env.has_display():
            webbrowser.open(server.address)
        os.nice(POLITENESS)  # not before: the browser would have it too
        server.serve_forever()
    return 0
