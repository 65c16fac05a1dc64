"""Model fields that the rooms share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.db.models import Case, Value
from django.db.models.functions import Cast
from encrypted_model_fields.fields import EncryptedTextField

from core.secrets import SealedSecret, is_token


class SecretField(EncryptedTextField):  # type: ignore[misc]  # the library is untyped
    """Holds a `SealedSecret` or None, and nothing else.

    Rows carry ciphertext from the database to the last moment: loading, listing, copying, `bulk_update`, `dumpdata`
    and history touch no plaintext, and a row that no key decrypts breaks no list. Plain text is refused on the way
    in; `core.secrets.seal` is the only way to make a value and `unseal` the only way to read one.
    The library's own field decrypts on load, answers with the ciphertext when its key is wrong, and loses the value
    in `bulk_update`; none of that path is used here.
    """

    if TYPE_CHECKING:

        def __get__(self, instance: Any, owner: Any) -> Any: ...

        def __set__(self, instance: Any, value: SealedSecret | None) -> None: ...

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.update(null=True, blank=True, editable=False)
        super().__init__(*args, **kwargs)

    def to_python(self, value: Any) -> SealedSecret | None:
        if value is None or isinstance(value, SealedSecret):
            return value
        if isinstance(value, str) and is_token(value):
            return SealedSecret(value)
        raise ValidationError("A secret is stored sealed, never as plain text.")

    def from_db_value(self, value: Any, *args: Any, **kwargs: Any) -> SealedSecret | None:
        return None if value is None else SealedSecret(value)

    def get_prep_value(self, value: Any) -> str | None:
        sealed = self.to_python(value)
        return None if sealed is None else sealed.token

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        return value if prepared else self.get_prep_value(value)

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        if isinstance(value, Case | Cast):  # what bulk_update builds around the values
            for leaf in value.flatten():
                if isinstance(leaf, Value):
                    self.to_python(leaf.value)
            return value
        return self.get_prep_value(value)

    def value_to_string(self, obj: Any) -> str | None:
        return self.get_prep_value(self.value_from_object(obj))

    def formfield(self, **kwargs: Any) -> None:
        return None
