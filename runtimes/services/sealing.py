"""Sealing a service's key: for its row, and for the origins at which the service is reached when the key is entered."""

from __future__ import annotations

from contextlib import suppress

from django.views.decorators.debug import sensitive_variables

from core.errors import InvalidInput
from core.origins import origin_of
from core.secrets import SecretError, fingerprint, last4, seal
from runtimes import drivers
from runtimes.models import LLMService
from runtimes.services import calls


def origins(service: LLMService) -> list[str]:
    """Where a service is reached, each place once."""
    driver = drivers.get(service.type)
    return list(dict.fromkeys(origin_of(url) for url in calls.urls(service, driver)))


@sensitive_variables()
def put_key(service: LLMService, key: str) -> None:
    """Seal a key that is entered now on its row, or take the stored one away (“”); raises InvalidInput."""
    key = key.strip()
    if not key:
        service.secret, service.secret_last4, service.secret_fingerprint = None, "", ""
        return
    first, *further = origins(service) or [""]
    if not first:
        message = "A key needs a URL that it is for."
        raise InvalidInput(message, fields={"urls": [message]})
    if any(not origin.startswith("https://") for origin in further):
        message = "A stored key goes to one http:// server at most."
        hint = "Use https:// for the others, or name an environment variable that holds the key."
        raise InvalidInput(message, hint=hint, fields={"urls": [message]})
    service.secret = seal(key, owner=service.owner, origin=first, also=further)
    service.secret_last4, service.secret_fingerprint = last4(key), fingerprint(key)


def require_same_places(service: LLMService) -> None:
    """Raise InvalidInput if the stored key was not entered for all places that the service is now reached at."""
    if service.secret is None:
        return
    with suppress(SecretError):
        opened = service.open_secret()
        if opened is not None and {opened.origin, *opened.also} >= set(origins(service)):
            return
    raise InvalidInput(
        "The stored key was entered for another address, and is not sent to the new one.",
        hint="Enter the key again together with the new URL, or remove it.",
        code="key_for_another_origin",
        fields={"key": ["Enter the key again, or remove it."]},
    )
