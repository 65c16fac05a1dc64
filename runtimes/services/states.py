"""What becomes of a model between two looks at its service."""

from __future__ import annotations

from django.db import transaction

from core.clock import now
from runtimes.models import ModelState, ServiceModel


@transaction.atomic
def note(*, model_id: int, state: ModelState) -> None:
    """Remember a model's state as it was just found; one that has been removed since stays so."""
    model = ServiceModel.objects.present().select_for_update().filter(pk=model_id).first()
    if model is None or model.state == state:
        return
    model.state, model.seen_at = state, now()
    model.save(update_fields=["state", "seen_at"])
