"""manage.py import_services FILE: shows what the `llm:` section of a YAML file would change, and changes it."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from core.errors import AppError
from providers.management.acting import actor_named, add_user_argument
from runtimes.services import yaml_import
from runtimes.services.yaml_reading import read


class Command(BaseCommand):
    help = "Import services from the llm: section of a YAML file, after showing what changes."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", nargs="?", default="", help="A file, or - for standard input.")
        parser.add_argument("--dry-run", action="store_true", help="Show the difference and write nothing.")
        parser.add_argument("--only-new", action="store_true", help="Leave alone what is there already.")
        parser.add_argument("--export", action="store_true", help="Print all services in the same form instead.")
        add_user_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["export"]:
            self.stdout.write(yaml_import.export(), ending="")
            return
        actor = actor_named(options["user"])
        try:
            config = read(_data(options["file"]))
            diff = yaml_import.preview(config, only_new=options["only_new"])
            if not options["dry_run"]:
                yaml_import.apply(config, actor=actor, expected=diff.fingerprint, only_new=options["only_new"])
        except AppError as error:
            raise CommandError(str(error)) from error
        *report, summary = diff.lines()
        if options["verbosity"] > 0 and report:
            self.stdout.write("\n".join(report))
        self.stdout.write(f"{summary}{' (dry run: nothing was written)' if options['dry_run'] else ''}")


def _data(name: str) -> bytes:
    if not name:
        raise CommandError("Name a file, or - for standard input.")
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror}.") from error
