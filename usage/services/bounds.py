"""What the services of limits and budgets share: who may change one, and what it may be for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, cast

from core.errors import Forbidden, InvalidInput, NotFound
from tenants.models import ApiToken, Tenant
from usage.models.bounds import Bound

Row = TypeVar("Row", bound=Bound)


def locked(tenant_id: str) -> Tenant:
    """Writers of one tenant take turns."""
    tenant = Tenant.objects.select_for_update().filter(pk=tenant_id).first()
    if tenant is None:
        raise NotFound("There is no such tenant.")
    return tenant


def fresh(row: Row, *, as_staff: bool) -> Row:
    """The row as it is now; raises Forbidden if only staff may change it, NotFound if it is gone."""
    locked(row.tenant_id)
    found = cast(Row | None, type(row).objects.filter(pk=row.pk).first())
    if found is None:
        raise NotFound("It was deleted meanwhile.")
    if found.set_by_staff and not as_staff:
        raise Forbidden(
            "The staff of this installation set this; the tenant cannot change it.",
            hint="Ask them, or set a lower one of your own beside it.",
        )
    return found


def check_token(tenant: Tenant, token: ApiToken | None) -> None:
    """Raise InvalidInput unless it is a token of the tenant that can still be used."""
    if token is not None and (token.tenant_id != tenant.pk or token.revoked_at is not None):
        raise InvalidInput(
            "This token cannot be bounded.", fields={"token": ["A token of the tenant that is not revoked."]}
        )


def ancestors_of(tenant_ids: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """For each token that was made with another one: that one, what it was made with, and so on; one query."""
    rows = ApiToken.objects.filter(tenant__in=list(tenant_ids), parent__isnull=False)
    parents = dict(rows.order_by().values_list("id", "parent_id"))
    found: dict[str, tuple[str, ...]] = {}
    for token_id in parents:
        chain: list[str] = []
        parent = parents.get(token_id)
        while parent is not None and parent not in chain:
            chain.append(parent)
            parent = parents.get(parent)
        found[token_id] = tuple(chain)
    return found


def differences(row: Bound, changes: Mapping[str, Any]) -> dict[str, Any]:
    """What of these changes is one, as the audit log keeps it."""
    return {
        name: {"from": _plain(getattr(row, name)), "to": _plain(value)}
        for name, value in changes.items()
        if getattr(row, name) != value
    }


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | str) else str(value)
