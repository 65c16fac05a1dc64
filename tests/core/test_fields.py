"""What went wrong with the library's own field, and must not with ours."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core import serializers
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import connection, transaction
from django.db.migrations.writer import MigrationWriter
from django.db.models import Case, F, Value, When
from django.db.models.functions import Concat
from django.forms import modelform_factory
from rest_framework.serializers import ModelSerializer

from core.fields import SecretField
from core.origins import origin_of
from core.secrets import SealedSecret, SecretMisdirected, SecretMisplaced, SecretUnreadable, seal
from providers.models import LLMFactory
from tenants.models import Credential
from tests.people import make_tenant

TEXT = "sk-Zq8vJ3mN5tR7wY1bD4gH6kL9"
URL = "https://api.example.com"
ORIGIN = origin_of(URL)

pytestmark = pytest.mark.django_db


@pytest.fixture
def factory() -> LLMFactory:
    return LLMFactory.objects.create(name="Acme", base_url=URL)


@pytest.fixture
def row(factory: LLMFactory) -> Credential:
    return make_row(factory, TEXT)


def make_row(factory: LLMFactory, text: str, **columns: Any) -> Credential:
    row = Credential(tenant=make_tenant(), factory=factory, **columns)
    row.secret = seal(text, owner=row.owner, origin=ORIGIN)
    row.save()
    return row


def text_of(row: Credential) -> str:
    opened = Credential.objects.get(pk=row.pk).open_secret()
    assert opened is not None
    return opened.reveal(origin=ORIGIN)


def stored(row: Credential) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT secret FROM tenants_credential WHERE id = %s", [row.pk])
        return str(cursor.fetchone()[0])


def store(row: Credential, text: str | None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE tenants_credential SET secret = %s WHERE id = %s", [text, row.pk])


# --- Every way of writing keeps it ------------------------------------------------------------------------------------


def test_only_ciphertext_is_stored(row: Credential) -> None:
    assert stored(row).startswith("gAAAA")
    assert TEXT not in stored(row)
    assert text_of(row) == TEXT


def test_saving_again_does_not_encrypt_again(row: Credential) -> None:
    before = stored(row)
    Credential.objects.get(pk=row.pk).save()
    assert stored(row) == before


def test_bulk_update_keeps_it(row: Credential, factory: LLMFactory) -> None:
    others = [make_row(factory, f"other {number}") for number in range(3)]
    keyless = make_row(factory, "gone")
    keyless.secret = None
    Credential.objects.bulk_update([row, *others, keyless], ["secret", "label"])
    assert text_of(row) == TEXT
    assert [text_of(other) for other in others] == ["other 0", "other 1", "other 2"]
    assert Credential.objects.get(pk=keyless.pk).secret is None


def test_bulk_create_and_its_upsert_keep_it(factory: LLMFactory) -> None:
    tenant = make_tenant()
    rows = [Credential(tenant=tenant, factory=factory, label=str(number)) for number in range(3)]
    for number, row in enumerate(rows):
        row.secret = seal(f"number {number}", owner=row.owner, origin=ORIGIN)
    Credential.objects.bulk_create(rows)
    Credential.objects.bulk_create(rows, update_conflicts=True, update_fields=["secret"], unique_fields=["id"])
    assert [text_of(row) for row in rows] == ["number 0", "number 1", "number 2"]


def test_update_takes_a_sealed_secret_or_none(row: Credential) -> None:
    Credential.objects.filter(pk=row.pk).update(secret=seal("new", owner=row.owner, origin=ORIGIN))
    assert text_of(row) == "new"
    Credential.objects.filter(pk=row.pk).update(secret=None)
    assert Credential.objects.get(pk=row.pk).open_secret() is None


@pytest.mark.parametrize(
    "value",
    [
        TEXT,
        Value(TEXT),
        Value(TEXT, output_field=SecretField()),
        Concat(Value("sk-"), Value("abc")),
        F("label"),
        Case(When(pk="x", then=Value(TEXT)), default=Value(None)),
        Case(When(pk__isnull=False, then=Value(TEXT)), default=F("secret")),
        Case(default=Value(TEXT, output_field=SecretField())),
        b"bytes",
        12,
    ],
)
def test_update_refuses_anything_else(row: Credential, value: Any) -> None:
    before = stored(row)
    with pytest.raises(ValidationError), transaction.atomic():
        Credential.objects.filter(pk=row.pk).update(secret=value)
    assert stored(row) == before


@pytest.mark.parametrize("value", [TEXT, "", "x" * 500, 5, b"gAAAA" + b"x" * 120])
def test_saving_refuses_plain_text(row: Credential, value: Any) -> None:
    row.secret = value
    with pytest.raises(ValidationError, match="never as plain text"), transaction.atomic():
        row.save()
    if value:  # Django does not clean what is empty
        with pytest.raises(ValidationError):
            row.full_clean()
    assert text_of(row) == TEXT


def test_a_refusal_does_not_quote_what_it_refused(row: Credential) -> None:
    row.secret = TEXT
    with pytest.raises(ValidationError) as raised:
        row.save()
    assert TEXT not in str(raised.value)


def test_a_saved_row_is_valid(row: Credential) -> None:
    Credential.objects.get(pk=row.pk).full_clean()


# --- Reading fails closed ---------------------------------------------------------------------------------------------


def test_the_wrong_key_raises_and_breaks_no_list(row: Credential, settings: Any) -> None:
    before = stored(row)
    settings.FIELD_ENCRYPTION_KEY = [Fernet.generate_key().decode()]
    (found,) = Credential.objects.all()
    with pytest.raises(SecretUnreadable):
        found.open_secret()
    found.label = "renamed"
    found.save()
    assert stored(row) == before, "saving with the wrong key must not touch the secret"


@pytest.mark.parametrize("damage", ["plain text", "", "gAAAA" + "x" * 120, "Value('sk-x')"])
def test_a_row_damaged_by_sql_is_listed_and_not_used(row: Credential, damage: str) -> None:
    store(row, damage)
    (found,) = Credential.objects.all()
    with pytest.raises(SecretUnreadable):
        found.open_secret()


def test_another_tenants_ciphertext_copied_by_sql_does_not_open(row: Credential, factory: LLMFactory) -> None:
    thief = make_row(factory, "the thief's own")
    store(thief, stored(row))
    with pytest.raises(SecretMisplaced):
        Credential.objects.get(pk=thief.pk).open_secret()


def test_a_row_moved_to_another_tenant_by_sql_does_not_open(row: Credential) -> None:
    Credential.objects.filter(pk=row.pk).update(tenant=make_tenant())
    with pytest.raises(SecretMisplaced):
        Credential.objects.get(pk=row.pk).open_secret()


def test_a_base_url_changed_by_sql_does_not_get_the_key(row: Credential) -> None:
    Credential.objects.filter(pk=row.pk).update(base_url="https://evil.example.com/v1")
    found = Credential.objects.get(pk=row.pk)
    opened = found.open_secret()
    assert opened is not None
    with pytest.raises(SecretMisdirected):
        opened.reveal(origin=origin_of(found.effective_base_url))


def test_a_factorys_changed_base_url_does_not_get_the_key(row: Credential) -> None:
    LLMFactory.objects.update(base_url="https://evil.example.com/v1")
    found = Credential.objects.get(pk=row.pk)
    opened = found.open_secret()
    assert opened is not None
    with pytest.raises(SecretMisdirected):
        opened.reveal(origin=origin_of(found.effective_base_url))


def test_a_pasted_ciphertext_is_not_decrypted(row: Credential, factory: LLMFactory) -> None:
    """Whoever holds a dump of the database cannot read it through the product."""
    pasted = stored(row)
    other = make_row(factory, "mine")
    other.secret = seal(pasted, owner=other.owner, origin=ORIGIN)
    other.save()
    assert text_of(other) == pasted
    other.secret = SealedSecret(pasted)
    other.save()
    with pytest.raises(SecretMisplaced):
        other.open_secret()


# --- Forms, serializers, dumps, copies --------------------------------------------------------------------------------


def test_no_form_and_no_serializer_shows_or_takes_it(row: Credential) -> None:
    form = modelform_factory(Credential, fields="__all__")
    assert "secret" not in form.base_fields
    assert SecretField().formfield() is None

    class Everything(ModelSerializer):  # type: ignore[type-arg]
        class Meta:
            model = Credential
            fields = "__all__"

    assert Everything().fields["secret"].read_only
    shown = str(Everything(row).data)
    assert TEXT not in shown
    assert stored(row) not in shown


def test_dumpdata_writes_ciphertext_that_loaddata_restores(row: Credential, tmp_path: Any) -> None:
    out = StringIO()
    call_command("dumpdata", "tenants.tenant", "providers.llmfactory", "tenants.credential", stdout=out)
    assert TEXT not in out.getvalue()
    assert stored(row) in out.getvalue()
    file = tmp_path / "dump.json"
    file.write_text(out.getvalue())
    Credential.objects.all().delete()
    call_command("loaddata", str(file), verbosity=0)
    assert text_of(row) == TEXT


@pytest.mark.parametrize("form", ["json", "xml", "jsonl", "python"])
def test_every_format_of_dump_is_ciphertext(row: Credential, form: str) -> None:
    dumped = serializers.serialize(form, Credential.objects.all())
    assert TEXT not in str(dumped)
    (back,) = serializers.deserialize(form, dumped)
    assert back.object.secret == row.secret


def test_a_dump_with_plain_text_in_it_is_refused(row: Credential) -> None:
    dumped = serializers.serialize("json", Credential.objects.all()).replace(stored(row), TEXT)
    with pytest.raises(serializers.base.DeserializationError) as raised:
        list(serializers.deserialize("json", dumped))
    assert TEXT not in str(raised.value.__cause__)


def test_a_cached_or_pickled_row_holds_ciphertext(row: Credential) -> None:
    blob = pickle.dumps(Credential.objects.get(pk=row.pk))
    assert TEXT.encode() not in blob
    assert pickle.loads(blob).open_secret().reveal(origin=ORIGIN) == TEXT  # noqa: S301


def test_values_show_nothing(row: Credential) -> None:
    for shown in (Credential.objects.values(), Credential.objects.values_list("secret"), [row.__dict__]):
        assert TEXT not in repr(list(shown))
        assert stored(row) not in repr(list(shown))


def test_a_copied_row_cannot_open_the_secret(row: Credential) -> None:
    row.pk, row._state.adding, row.label = None, True, "copy"
    row.pk = Credential._meta.pk.get_default()
    row.save()
    with pytest.raises(SecretMisplaced):
        row.open_secret()


def test_a_draft_is_promoted_by_sealing_anew(row: Credential, factory: LLMFactory) -> None:
    draft = Credential(tenant=row.tenant, factory=factory, state="draft", replaces=row)
    draft.secret = seal("tested", owner=draft.owner, origin=ORIGIN)
    draft.save()
    row.secret = draft.secret
    with pytest.raises(SecretMisplaced):
        row.open_secret()
    opened = draft.open_secret()
    assert opened is not None
    row.secret = seal(opened.reveal(origin=ORIGIN), owner=row.owner, origin=ORIGIN)
    row.save()
    assert text_of(row) == "tested"


def test_equality_of_ciphertexts_can_be_asked_for(row: Credential) -> None:
    assert Credential.objects.filter(secret=row.secret).get() == row
    assert Credential.objects.exclude(secret=None).get() == row
    with pytest.raises(ValidationError):
        Credential.objects.filter(secret=TEXT).exists()


# --- Migrations -------------------------------------------------------------------------------------------------------


def test_the_field_describes_itself_stably() -> None:
    field = SecretField()
    field.set_attributes_from_name("secret")
    name, path, args, kwargs = field.deconstruct()
    assert (name, path, args) == ("secret", "core.fields.SecretField", [])
    assert kwargs == {"null": True, "blank": True, "editable": False}
    again = SecretField(*args, **kwargs)
    again.set_attributes_from_name("secret")
    assert again.deconstruct() == field.deconstruct()
    assert "core.fields.SecretField" in MigrationWriter.serialize(field)[0]


def test_the_migrations_are_complete() -> None:
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


def test_the_column_takes_any_length(factory: LLMFactory) -> None:
    long = "x" * 16_384
    assert text_of(make_row(factory, long)) == long


@pytest.fixture(autouse=True)
def no_key_in_the_output(capfd: Any) -> Iterator[None]:
    yield
    out, err = capfd.readouterr()
    assert TEXT not in out + err
