"""What writes may carry. A field that is not named here is refused."""

from __future__ import annotations

from rest_framework import serializers

from core.drf import StrictSerializer
from core.ids import ID_LENGTH
from providers.fields import TYPE_CHOICES
from providers.models import DEFAULT_MAX_TOKENS, STATUS_CHOICES
from tenants.api.rest.serializers import DEFAULT_COLUMNS
from tenants.models import SCOPES, Role
from tenants.services import defaults, names
from tenants.services.credentials import MAX_LABEL
from tenants.services.tenant_llms import MAX_MAX_TOKENS, MAX_NAME
from tenants.services.tokens import MAX_PATTERN, MAX_PATTERNS

MAX_MODELS, MAX_TESTED = 2000, 50
MAX_USERNAME, MAX_EMAIL, MAX_URL, MAX_FACTORY = 150, 254, 255, 128


class NewTenant(StrictSerializer):
    name = serializers.CharField(max_length=names.MAX_LENGTH)
    email = serializers.EmailField(required=False, allow_blank=True, default="", max_length=MAX_EMAIL)


class TenantChange(StrictSerializer):
    name = serializers.CharField(max_length=names.MAX_LENGTH, required=False)
    email = serializers.EmailField(required=False, allow_blank=True, max_length=MAX_EMAIL)

    def get_fields(self) -> dict[str, serializers.Field]:
        columns = {
            column: serializers.CharField(
                required=False,
                allow_blank=True,
                max_length=defaults.MAX_LENGTH,
                help_text="name@factory, or a route's name; empty for none.",
            )
            for column in DEFAULT_COLUMNS
        }
        return {**super().get_fields(), **columns}


class NewMember(StrictSerializer):
    username = serializers.CharField(max_length=MAX_USERNAME)
    role = serializers.ChoiceField(Role.choices, default=Role.MEMBER.value)


class RoleChange(StrictSerializer):
    role = serializers.ChoiceField(Role.choices)


class NewToken(StrictSerializer):
    name = serializers.CharField(max_length=names.MAX_LENGTH)
    scopes = serializers.ListField(child=serializers.ChoiceField(sorted(SCOPES)), min_length=1, max_length=len(SCOPES))
    models = serializers.ListField(
        child=serializers.CharField(max_length=MAX_PATTERN),
        required=False,
        max_length=MAX_PATTERNS,
        help_text="What it may call: names of routes and models, with * for any text: *@OpenAI. Empty: everything.",
    )
    expires_at = serializers.DateTimeField(required=False, allow_null=True, default=None)


class ValuesField(serializers.DictField):
    """The factory's credential fields by name."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__(
            help_text="The factory's credential_fields by name, secret and not. Secret ones are never shown again.",
            **kwargs,  # type: ignore[arg-type]
        )


class NewCredential(StrictSerializer):
    factory = serializers.CharField(max_length=MAX_FACTORY, help_text="The factory's name.")
    values = ValuesField(default=dict)
    base_url = serializers.CharField(required=False, allow_blank=True, default="", max_length=MAX_URL)
    label = serializers.CharField(  # type: ignore[assignment]  # the wire's name
        required=False, allow_blank=True, default="", max_length=MAX_LABEL
    )
    models = serializers.ListField(
        child=serializers.CharField(max_length=MAX_FACTORY),
        required=False,
        max_length=MAX_MODELS,
        help_text="Which of the factory's catalogue models it is to serve; all of them unless given.",
    )
    test = serializers.BooleanField(default=True, help_text="Save only if it works. false: save untested, at once.")


class CredentialChange(StrictSerializer):
    values = ValuesField(required=False)
    base_url = serializers.CharField(required=False, allow_blank=True, max_length=MAX_URL)
    label = serializers.CharField(required=False, max_length=MAX_LABEL)  # type: ignore[assignment]  # likewise
    status = serializers.ChoiceField(STATUS_CHOICES, required=False)


class TestedPair(StrictSerializer):
    llm_name = serializers.CharField(max_length=MAX_NAME)
    model_type = serializers.ChoiceField(TYPE_CHOICES)


class CredentialTest(StrictSerializer):
    models = serializers.ListField(
        child=TestedPair(),
        required=False,
        max_length=MAX_TESTED,
        help_text="Which to call; the usual plan unless given.",
    )


class NewTenantModel(StrictSerializer):
    credential = serializers.CharField(max_length=ID_LENGTH, help_text="The id of the credential it is used through.")
    llm_name = serializers.CharField(max_length=MAX_NAME)
    model_types = serializers.ListField(
        child=serializers.ChoiceField(TYPE_CHOICES), min_length=1, max_length=len(TYPE_CHOICES)
    )
    max_tokens = serializers.IntegerField(min_value=1, max_value=MAX_MAX_TOKENS, default=DEFAULT_MAX_TOKENS)
    is_tools = serializers.BooleanField(required=False, allow_null=True, default=None)


class TenantModelChange(StrictSerializer):
    model_types = serializers.ListField(
        child=serializers.ChoiceField(TYPE_CHOICES), required=False, min_length=1, max_length=len(TYPE_CHOICES)
    )
    max_tokens = serializers.IntegerField(min_value=1, max_value=MAX_MAX_TOKENS, required=False)
    is_tools = serializers.BooleanField(required=False)
    status = serializers.ChoiceField(STATUS_CHOICES, required=False)
