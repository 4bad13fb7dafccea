"""Options that several commands share."""

from __future__ import annotations

import argparse
import json
from typing import Any


def add_plugin_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-p", dest="plugins", action="append", default=[], metavar="PLUGIN",
                        help="load a plugin: ./file.py, a module, or no:NAME to leave one out")
    parser.add_argument("--strict-plugins", action="store_true", help="fail where a plugin is broken, even if unused")


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON for programs")


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=1))
