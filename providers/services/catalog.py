"""Imports and exports the catalogue: preview a difference, apply exactly what was previewed, write fixtures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Model
from simple_history.utils import bulk_create_with_history, bulk_update_with_history

from core import audit
from core.clock import now
from core.errors import Conflict, NotFound
from providers.catalog import formats
from providers.catalog.diff import CatalogDiff, Current, FieldChange, Key, base_of, compare
from providers.catalog.records import ParsedCatalogue
from providers.catalog.render import FACTORY_FIELDS, LLM_FIELDS, PRICE_FIELDS, file_name, fixture, plain
from providers.models import LLM, LLMFactory
from providers.services import prices
from providers.services.history import history_user

REASON_LENGTH = 100  # of the history's column

Rows = dict[Key, Any]  # of LLMFactory and LLM
_FIELDS: dict[type[Model], Iterable[str]] = {LLMFactory: FACTORY_FIELDS, LLM: LLM_FIELDS}


def preview_file(data: bytes, *, format_name: str = "", overwrite: bool = False, retire: bool = False) -> CatalogDiff:
    """What importing this file would do; raises InvalidInput when it is no catalogue. Writes nothing."""
    return preview(formats.parse(data, format_name), overwrite=overwrite, retire=retire)


def preview(catalogue: ParsedCatalogue, *, overwrite: bool = False, retire: bool = False) -> CatalogDiff:
    """What importing the catalogue would do. `overwrite`: the file wins over an operator's edits; `retire`: rows that
    came from this format and are gone from it are switched off."""
    return compare(catalogue, _as_current(_rows()), overwrite=overwrite, retire=retire)


def apply(diff: CatalogDiff, *, actor: audit.Actor, expected: str = "", reason: str = "") -> CatalogDiff:
    """Do what the difference says, all of it or nothing; Conflict when the catalogue has changed since.

    `expected` is the fingerprint of the difference that a person has reviewed, when that was in another request.
    New models that the file gives no price are priced from genai-prices where it knows them.
    """
    try:
        with transaction.atomic():
            rows = _rows(lock=True)
            fresh = compare(diff.catalogue, _as_current(rows), overwrite=diff.overwrite, retire=diff.retire)
            if fresh.fingerprint != (expected or diff.fingerprint):
                raise _stale()
            _write(fresh, rows, _Change(actor, reason or f"import: {fresh.format}"))
            if not fresh.is_empty:
                detail: dict[str, Any] = {**fresh.summary}
                audit.record("catalog.imported", actor=actor, target=fresh.format, **detail)
    except IntegrityError as error:
        raise _stale() from error
    return fresh


def export(factory: str = "") -> str:
    """The catalogue (or one factory of it) as a fixture. Prices that genai-prices gave are left out: they are cached,
    not ours, and an import looks them up again."""
    return fixture(_exported(factory))


def export_files(factory: str = "") -> dict[str, str]:
    """The same, one file per factory, by file name."""
    return {file_name(row["name"]): fixture([(row, llms)]) for row, llms in _exported(factory)}


def _exported(name: str) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    factories = LLMFactory.objects.order_by("name").filter(**({"name": name} if name else {}))
    models: dict[int, list[dict[str, Any]]] = {factory.pk: [] for factory in factories}
    if name and not models:
        raise NotFound(f"There is no factory {name!r}.", code="factory_not_found")
    for llm in LLM.objects.filter(factory__in=factories):
        cached = prices.is_cached(llm.price_source)
        values = _values(llm, LLM_FIELDS)
        models[llm.factory_id].append({k: v for k, v in values.items() if not (cached and k in PRICE_FIELDS)})
    return [(_values(factory, FACTORY_FIELDS), models[factory.pk]) for factory in factories]


class _Change:
    """Who changes the catalogue, why, and the two bulk writes that put it into the rows' history."""

    def __init__(self, actor: audit.Actor, reason: str) -> None:
        self.moment = now()
        self._how = {
            "default_user": history_user(actor),
            "default_change_reason": reason[:REASON_LENGTH],
            "default_date": self.moment,
        }

    def create(self, rows: list[Any], model: Any) -> None:
        if rows:
            bulk_create_with_history(rows, model, **self._how)

    def update(self, rows: list[Any], model: Any, fields: Iterable[str]) -> None:
        if rows:
            for row in rows:
                row.updated_at = self.moment
            bulk_update_with_history(rows, model, [*sorted(fields), "updated_at"], **self._how)


def _write(diff: CatalogDiff, rows: Rows, change: _Change) -> None:
    stated: dict[Key, Mapping[str, Any]] = {(one.name,): one.values for one in diff.catalogue.factories}
    stated.update({(one.factory, one.llm_name): one.values for one in diff.catalogue.models})
    remembered = _remember(diff.format, stated, rows)
    for model, length in ((LLMFactory, 1), (LLM, 2)):
        added = [row for row in diff.added if len(row.key) == length]
        new = [_new(row.key, row.values, rows, diff.format, change) for row in added]
        prices.fill([row for row in new if isinstance(row, LLM)], moment=change.moment)
        change.create(new, model)
        rows.update(zip((row.key for row in added), new, strict=True))

        touched = {row.key: rows[row.key] for row in (*diff.changed, *diff.retired) if len(row.key) == length}
        fields = {"imported", "source"}
        for row in (*diff.changed, *diff.retired):
            if row.key in touched:
                fields |= _set(touched[row.key], row.fields, stated.get(row.key, {}), change)
        change.update(list(touched.values()), model, fields)
        unseen = [rows[key] for key in remembered - touched.keys() if len(key) == length]
        model._default_manager.bulk_update(unseen, ["imported", "source"])


def _new(key: Key, values: Mapping[str, Any], rows: Rows, source: str, change: _Change) -> LLMFactory | LLM:
    fields = {**values, "imported": base_of(values), "source": source}
    if len(key) == 1:
        return LLMFactory(name=key[0], **fields)
    if values.get("price_source") == source:  # a price of the file's own, which says nothing of when
        fields["priced_at"] = values.get("priced_at") or change.moment
    return LLM(factory=rows[key[:1]], llm_name=key[1], **fields)


def _set(target: Any, fields: Iterable[FieldChange], stated: Mapping[str, Any], change: _Change) -> set[str]:
    """Write the new values on a row; returns the names of the fields that may have changed."""
    for one in fields:
        setattr(target, one.field, one.new)
        if one.field == "status" and one.field in target.imported:
            target.imported = {**target.imported, "status": one.new}
    names = {one.field for one in fields}
    if names & set(PRICE_FIELDS):
        target.priced_at = stated.get("priced_at") or change.moment
        names.add("priced_at")
    return names


def _remember(source: str, stated: Mapping[Key, Mapping[str, Any]], rows: Rows) -> set[Key]:
    """Let every row of the file remember what the file said; returns the rows for which that is news."""
    news = set()
    for key, values in stated.items():
        if (row := rows.get(key)) is None:
            continue
        base = {**row.imported, **base_of(values)}
        if base != row.imported or not row.source:
            row.imported, row.source = base, row.source or source
            news.add(key)
    return news


def _rows(*, lock: bool = False) -> Rows:
    factories, llms = LLMFactory.objects.all(), LLM.objects.select_related("factory")
    if lock:
        factories, llms = factories.select_for_update(), llms.select_for_update(of=("self",))
    rows: Rows = {(factory.name,): factory for factory in factories}
    rows.update({(llm.factory.name, llm.llm_name): llm for llm in llms})
    return rows


def _as_current(rows: Rows) -> dict[Key, Current]:
    """The rows as `compare` sees them. What no import has stated is nobody's edit while it has its default."""
    untouched = {model: _defaults(model, fields) for model, fields in _FIELDS.items()}
    current = {}
    for key, row in rows.items():
        base = untouched[type(row)] if row.source else {}
        current[key] = Current(_values(row, _FIELDS[type(row)]), {**base, **row.imported}, row.source)
    return current


def _defaults(model: type[Model], fields: Iterable[str]) -> dict[str, Any]:
    return {
        field.name: plain(field.get_default()) for field in model._meta.concrete_fields if field.name in set(fields)
    }


def _values(row: Any, fields: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in fields}


def _stale() -> Conflict:
    return Conflict(
        "The catalogue has changed since this import was previewed.",
        hint="Preview the import again, then apply it.",
        code="stale_preview",
    )
