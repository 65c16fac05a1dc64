"""manage.py import_catalog FILE…: shows what a catalogue file would change, line by line, and changes it."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from core.errors import AppError
from providers.catalog import formats
from providers.catalog.diff import CatalogDiff
from providers.catalog.records import ParsedCatalogue
from providers.management.acting import actor_named, add_user_argument
from providers.services import catalog


class Command(BaseCommand):
    help = "Import factories and models from a catalogue file, after showing what changes."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", nargs="+", help="A file, a directory (all its *.json), or - for standard input.")
        parser.add_argument("--format", choices=formats.names(), default="", help="Found out when not given.")
        parser.add_argument("--dry-run", action="store_true", help="Show the difference and write nothing.")
        parser.add_argument("--overwrite", action="store_true", help="The file wins over edits that were made here.")
        parser.add_argument("--retire", action="store_true", help="Switch off what this format had and has no longer.")
        parser.add_argument("--json", action="store_true", help="Print the difference as one JSON document.")
        add_user_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        actor = actor_named(options["user"])
        try:
            catalogue = formats.merged(
                [self._parse(name, data, options["format"]) for name, data in _read(options["file"])]
            )
            diff = catalog.preview(catalogue, overwrite=options["overwrite"], retire=options["retire"])
            if not options["dry_run"]:
                diff = catalog.apply(diff, actor=actor)
        except AppError as error:
            raise CommandError(str(error)) from error
        self._print(diff, options)

    def _parse(self, name: str, data: bytes, format_name: str) -> ParsedCatalogue:
        try:
            return formats.parse(data, format_name)
        except AppError as error:
            raise CommandError(f"{name}: {error}") from error

    def _print(self, diff: CatalogDiff, options: dict[str, Any]) -> None:
        if options["json"]:
            self.stdout.write(json.dumps({**diff.to_json(), "applied": not options["dry_run"]}, ensure_ascii=False))
            return
        *report, summary = diff.lines()
        if options["verbosity"] > 0 and report:
            self.stdout.write("\n".join(report))
        self.stdout.write(f"{summary}{' (dry run: nothing was written)' if options['dry_run'] else ''}")


def _read(names: list[str]) -> list[tuple[str, bytes]]:
    """The files that are meant, with their contents."""
    found: list[tuple[str, bytes]] = []
    for name in names:
        if name == "-":
            found.append(("standard input", sys.stdin.buffer.read()))
            continue
        path = Path(name)
        files = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not files:
            raise CommandError(f"{name}: the directory holds no *.json file.")
        try:
            found += [(str(file), file.read_bytes()) for file in files]
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}.") from error
    return found
