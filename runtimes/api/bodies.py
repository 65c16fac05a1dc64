"""What writes of services may carry. A field that is not named here is refused."""

from __future__ import annotations

from rest_framework import serializers

from core.drf import StrictSerializer
from core.ids import ID_LENGTH
from runtimes.models import Audience
from runtimes.models.service import LONGEST_TIMEOUT_S, MAX_URLS
from runtimes.services.services import MAX_TENANTS

MAX_URL, MAX_KEY, MAX_NETWORKS, MAX_NETWORK = 2048, 4096, 64, 64


class ServiceChange(StrictSerializer):
    """`key` is never shown again; “” takes it away."""

    name = serializers.CharField(required=False, max_length=64, help_text="The part before the “~”.")
    type = serializers.CharField(required=False, max_length=32, help_text="Its driver.")
    description = serializers.CharField(required=False, allow_blank=True, max_length=255)
    api_format = serializers.CharField(
        required=False, allow_blank=True, max_length=32, help_text="The wire format of calls; empty: the driver's own."
    )
    urls = serializers.ListField(
        child=serializers.CharField(max_length=MAX_URL),
        required=False,
        max_length=MAX_URLS,
        help_text="Base URLs, over which calls are balanced; none: where its driver usually finds it.",
    )
    api_key_env_var = serializers.CharField(
        required=False, allow_blank=True, max_length=128, help_text="The variable that holds its key."
    )
    short_timeout_s = serializers.IntegerField(required=False, min_value=1, max_value=LONGEST_TIMEOUT_S)
    long_timeout_s = serializers.IntegerField(required=False, min_value=1, max_value=LONGEST_TIMEOUT_S)
    verify_cert = serializers.BooleanField(required=False)
    enable_discovery = serializers.BooleanField(required=False)
    options = serializers.DictField(required=False, help_text="Quirks, prices, and what its driver takes.")
    key = serializers.CharField(required=False, allow_blank=True, max_length=MAX_KEY, write_only=True)


class NewService(ServiceChange):
    name = serializers.CharField(max_length=64, help_text="The part before the “~”.")
    type = serializers.CharField(max_length=32, help_text="Its driver.")


class Networks(StrictSerializer):
    networks = serializers.ListField(
        child=serializers.CharField(max_length=MAX_NETWORK),
        max_length=MAX_NETWORKS,
        help_text='Those that are not public and that it may be reached on: ["127.0.0.0/8"]. They replace the others.',
    )


class AudienceChange(StrictSerializer):
    audience = serializers.ChoiceField(Audience.choices)
    tenants = serializers.ListField(
        child=serializers.CharField(max_length=ID_LENGTH),
        required=False,
        max_length=MAX_TENANTS,
        help_text="Ids; left out: those who could before.",
    )
