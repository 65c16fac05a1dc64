"""manage.py providers: which factory can be called for which model type, and why not where it cannot."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from providers.services import matrix

EMPTY = "The catalogue is empty: the first start of the server loads it; --fixtures shows the one that is shipped."
COLUMNS = ("factory", "model type", "models", "dialect", "operation", "signer", "")


class Command(BaseCommand):
    help = "Print the factory × model type matrix of the catalogue: the wire format, operation and signer of each cell."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--fixtures", action="store_true", help="The shipped catalogue instead of the database's.")
        parser.add_argument("--json", action="store_true", help="Print one JSON document.")

    def handle(self, *args: Any, **options: Any) -> None:
        cells = matrix.from_fixtures() if options["fixtures"] else _of_this_installation()
        if options["json"]:
            self.stdout.write(json.dumps([cell.as_data() for cell in cells], indent=2, ensure_ascii=False))
            return
        lines = [COLUMNS, *(_line(cell) for cell in cells)]
        widths = [max(len(line[place]) for line in lines) for place in range(len(COLUMNS))]
        for line in lines:
            self.stdout.write("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
        works = sum(cell.callable for cell in cells)
        self.stdout.write(f"{works} of {len(cells)} can be called.")
        if not cells:
            self.stdout.write(EMPTY)


def _of_this_installation() -> list[matrix.Cell]:
    try:
        return matrix.from_database()
    except DatabaseError as error:
        raise CommandError(f"The catalogue cannot be read ({error}). Run migrate, or show --fixtures.") from None


def _line(cell: matrix.Cell) -> tuple[str, ...]:
    head = (cell.factory, cell.model_type.value, str(cell.models))
    return (*head, cell.dialect, cell.operation.value, cell.signer, cell.problem)
