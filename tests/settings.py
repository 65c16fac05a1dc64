"""The product's own settings, in a folder and on a backend that belong to this test process."""

from tests import backend

_name = backend.prepare_environment()

from llmadmin.settings import *  # noqa: E402, F403
from llmadmin.settings import DATA_DIR, DATABASES  # noqa: E402

# On SQLite a file, not memory: other threads connect to it as they do in the product.
DATABASES["default"]["TEST"] = {
    "NAME": _name if backend.chosen() == backend.SERVERS else str(DATA_DIR / "test.sqlite3"),
}
# Nothing here has to outlive the machine.
if backend.chosen() == backend.SERVERS:
    DATABASES["default"]["OPTIONS"]["options"] = "-c synchronous_commit=off"
else:
    DATABASES["default"]["OPTIONS"]["init_command"] += "PRAGMA synchronous=OFF;"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # a test makes many users; none has a secret
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
