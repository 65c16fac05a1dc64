"""All settings, read from the environment (docs/settings.md lists them); nothing set means: one machine, no servers."""

from datetime import timedelta
from pathlib import Path

from kombu import Exchange, Queue

from core import env, keys
from core.logging import logging_config
from llmadmin.job_types import JOB_GROUPS as JOB_GROUPS
from llmadmin.job_types import JOB_QUEUES as JOB_QUEUES
from llmadmin.job_types import JOB_TYPES as JOB_TYPES
from llmadmin.theme import UNFOLD as UNFOLD

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = keys.private_directory(Path(env.text("DATA_DIR", str(BASE_DIR / "var"))).expanduser().resolve())

# --- Keys -----------------------------------------------------------------------------------------------------------
_configured_keys = env.items("FIELD_ENCRYPTION_KEY")
_configured_secret = env.text("SECRET_KEY")
if _configured_keys and _configured_secret:
    SECRET_KEY, FIELD_ENCRYPTION_KEY = _configured_secret, _configured_keys
else:
    _stored = keys.load_or_create(DATA_DIR)
    SECRET_KEY = _configured_secret or _stored.secret_key
    FIELD_ENCRYPTION_KEY = _configured_keys or _stored.field_encryption_keys

# --- Where it listens -----------------------------------------------------------------------------------------------
HOST = env.text("HOST", "127.0.0.1")
PORT = env.integer("PORT", 8000, at_least=1, at_most=65535)
WEB_WORKERS = env.integer("WEB_WORKERS", 1, at_least=1, at_most=64)
WORKER_CONCURRENCY = env.integer("WORKER_CONCURRENCY", 4, at_least=1, at_most=256)
MODEL_WORKER_CONCURRENCY = env.integer("MODEL_WORKER_CONCURRENCY", 4, at_least=1, at_most=64)
_host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(HOST.strip("[]"), HOST.strip("[]"))  # noqa: S104
LOCAL_URL = f"http://[{_host}]:{PORT}" if ":" in _host else f"http://{_host}:{PORT}"
PUBLIC_URL = env.url("PUBLIC_URL", LOCAL_URL, schemes=("http", "https")).rstrip("/")
DEBUG = env.flag("DEBUG", False)
_https = PUBLIC_URL.startswith("https://")
ALLOWED_HOSTS = env.items(
    "ALLOWED_HOSTS",
    ["localhost", "127.0.0.1", "[::1]", HOST.strip("[]"), PUBLIC_URL.split("://")[-1].split("/")[0].rsplit(":", 1)[0]],
)
CSRF_TRUSTED_ORIGINS = env.items("CSRF_TRUSTED_ORIGINS", [PUBLIC_URL])
TRUSTED_PROXIES = env.integer("TRUSTED_PROXIES", 0, at_most=10)
if TRUSTED_PROXIES:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_SSL_REDIRECT = _https and TRUSTED_PROXIES > 0  # without a proxy that says so, every request looks like HTTP
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _https
SESSION_COOKIE_NAME = "llmadmin_session"
CSRF_COOKIE_NAME = "llmadmin_csrf"
SECURE_HSTS_SECONDS = 31_536_000 if _https else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = _https
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 8 * 1024 * 1024

# --- Applications ---------------------------------------------------------------------------------------------------
ROOT_URLCONF = "llmadmin.urls"
ASGI_APPLICATION = "llmadmin.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "unfold.contrib.simple_history",
    "llmadmin.apps.AdminSiteConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "simple_history",
    "encrypted_model_fields",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "axes",
    "csp",
    "core",
    "jobs",
    "providers",
    "runtimes",
    "tenants",
    "usage",
    "gateway",
    "llmadmin.apps.LLMAdminConfig",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "core.http.RequestIdMiddleware",
    "core.http.StaticMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "simple_history.middleware.HistoryRequestMiddleware",
    "axes.middleware.AxesMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
FIXTURE_DIRS = [BASE_DIR / "fixtures"]
CATALOG_DIR = BASE_DIR / "fixtures" / "catalog"
SERVICES_DIR = BASE_DIR / "fixtures" / "services"
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
FORMAT_MODULE_PATH = "llmadmin.formats"

# --- Database, cache, broker ----------------------------------------------------------------------------------------
DATABASES = {
    "default": env.database(
        "DATABASE_URL",
        {"ENGINE": "django.db.backends.sqlite3", "NAME": DATA_DIR / "db.sqlite3"},
    )
}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",  # a writer waits for its turn at BEGIN instead of failing half-way
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;",
    }
else:
    DATABASES["default"]["OPTIONS"] = {
        **DATABASES["default"].get("OPTIONS", {}),
        "pool": {"min_size": 1, "max_size": env.integer("DATABASE_POOL_SIZE", 10, at_least=1, at_most=500)},
    }

REDIS_URL = env.url("REDIS_URL", "", schemes=("redis", "rediss"))
REDIS_PREFIX = env.text("REDIS_PREFIX", "llmadmin:")
CACHES = (
    {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": REDIS_URL,
            "KEY_PREFIX": f"{REDIS_PREFIX}cache",
            "OPTIONS": {"socket_timeout": 2, "socket_connect_timeout": 2},
        }
    }
    if REDIS_URL
    else {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
)
CACHES["process"] = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "process"}

QUEUE_DIR = DATA_DIR / "queue"
CELERY_BROKER_URL = REDIS_URL or "filesystem://localhost//"
if not REDIS_URL:
    CELERY_BROKER_TRANSPORT = "jobs.queue_files:Transport"
    for _folder in (QUEUE_DIR, QUEUE_DIR / "messages", QUEUE_DIR / "control"):
        keys.private_directory(_folder)
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(QUEUE_DIR / "messages"),
        "data_folder_out": str(QUEUE_DIR / "messages"),
        "control_folder": str(QUEUE_DIR / "control"),
        "polling_interval": 0.1,
    }
else:
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "global_keyprefix": REDIS_PREFIX,
        "visibility_timeout": 3600,
        "socket_timeout": 10,
        "socket_connect_timeout": 5,
        "connect_retries_timeout": 2,  # a request that enqueues a job does not hang on a broker that is away
    }
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_QUEUES = [Queue(name, Exchange(name), routing_key=name) for name in JOB_QUEUES]
CELERY_TASK_DEFAULT_QUEUE = CELERY_TASK_DEFAULT_EXCHANGE = CELERY_TASK_DEFAULT_ROUTING_KEY = JOB_QUEUES[0]
CELERY_TASK_IGNORE_RESULT = True  # what a user sees is the Job row
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_MAX_TASKS_PER_CHILD = 1000
CELERY_TASK_SOFT_TIME_LIMIT = 3600
CELERY_TASK_TIME_LIMIT = 3660
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE_FILENAME = str(DATA_DIR / "beat")


def _every(seconds: float, task: str) -> dict[str, object]:
    """In a queue of its own, so that a thousand probes do not keep it waiting; worthless once the next one is due."""
    return {"task": task, "schedule": seconds, "options": {"expires": seconds, "queue": "maintenance"}}


CELERY_BEAT_SCHEDULE = {
    "worker-heartbeat": _every(10.0, "jobs.tasks.heartbeat"),
    "sweep-jobs": _every(10.0, "jobs.tasks.sweep"),
    "revalidate-credentials": _every(60.0, "tenants.tasks.revalidate_due"),
    "prune-jobs": _every(3600.0, "jobs.tasks.prune"),
    "prune-probes": _every(3600.0, "tenants.tasks.prune_probes"),
    "prune-usage": _every(3600.0, "usage.tasks.prune"),
    "replay-usage": _every(60.0, "usage.tasks.replay"),
    "budget-alerts": _every(60.0, "usage.tasks.record_budget_alerts"),
    "look-at-services": _every(5.0, "runtimes.tasks.look_at_due"),
    "look-for-services": _every(60.0, "runtimes.tasks.look_for_local"),
    "prune-services": _every(3600.0, "runtimes.tasks.prune"),
}

# --- Jobs (their types: llmadmin/job_types.py) ---------------------------------------------------------------------
JOB_HEARTBEAT_S = env.seconds("JOB_HEARTBEAT_S", 3.0)
JOB_LEASE_S = env.seconds("JOB_LEASE_S", 20.0)
JOB_EVENT_LISTENERS = env.integer("JOB_EVENT_LISTENERS", 200, at_most=10_000)
JOB_RETENTION_DAYS = env.integer("JOB_RETENTION_DAYS", 30, at_least=1, at_most=3650)

# --- Probes and the network -----------------------------------------------------------------------------------------
PROBE_WAIT = env.seconds("PROBE_WAIT", 20.0, at_most=600)
PROBE_TIMEOUT_S = env.seconds("PROBE_TIMEOUT_S", 15.0, at_most=600)
PROBE_CONNECT_TIMEOUT_S = env.seconds("PROBE_CONNECT_TIMEOUT_S", 5.0, at_most=120)
PROBE_DAILY_BUDGET = env.integer("PROBE_DAILY_BUDGET", 200, at_most=1_000_000)
PROBE_RETENTION_DAYS = env.integer("PROBE_RETENTION_DAYS", 90, at_least=1, at_most=3650)
PROBE_INTERVAL_HOURS = env.integer("PROBE_INTERVAL_HOURS", 24, at_least=1, at_most=24 * 90)
ALLOWED_NETWORKS = env.networks("ALLOWED_NETWORKS")
ASSUME_ROLE_KEYS = env.pair("ASSUME_ROLE_ACCESS_KEY_ID", "ASSUME_ROLE_SECRET_ACCESS_KEY")

# --- Services and their models --------------------------------------------------------------------------------------
SERVICE_CHECK_INTERVAL_S = env.seconds("SERVICE_CHECK_INTERVAL_S", 30.0)
SERVICE_LIST_INTERVAL_S = env.seconds("SERVICE_LIST_INTERVAL_S", 120.0)
SERVICE_DISCOVERY_HOSTS = env.items("SERVICE_DISCOVERY_HOSTS", ["127.0.0.1"])
SERVICE_KEY_VARIABLES = env.bindings("SERVICE_KEY_VARIABLES")  # beside what drivers declare for their usual places
SERVICE_EVENT_RETENTION_DAYS = env.integer("SERVICE_EVENT_RETENTION_DAYS", 90, at_least=1, at_most=3650)
SERVICE_MODEL_RETENTION_DAYS = env.integer("SERVICE_MODEL_RETENTION_DAYS", 7, at_least=1, at_most=3650)

# --- The gateway ----------------------------------------------------------------------------------------------------
LLM_TIMEOUT_SECONDS = env.seconds("LLM_TIMEOUT_SECONDS", 600.0, at_most=86_400)
LLM_MAX_RETRIES = env.integer("LLM_MAX_RETRIES", 5, at_most=100)
LLM_BASE_DELAY = env.seconds("LLM_BASE_DELAY", 2.0, at_most=60)
GATEWAY_CONNECT_TIMEOUT_S = env.seconds("GATEWAY_CONNECT_TIMEOUT_S", 10.0, at_most=120)
GATEWAY_FIRST_BYTE_TIMEOUT_S = env.seconds("GATEWAY_FIRST_BYTE_TIMEOUT_S", 300.0, at_most=3600)
GATEWAY_IDLE_TIMEOUT_S = env.seconds("GATEWAY_IDLE_TIMEOUT_S", 120.0, at_most=3600)
GATEWAY_KEEPALIVE_S = env.seconds("GATEWAY_KEEPALIVE_S", 15.0, at_most=3600)
GATEWAY_MAX_REQUEST_BYTES = env.integer("GATEWAY_MAX_REQUEST_BYTES", 64 * 1024**2, at_least=1024)
LIMITS_WITHOUT_REDIS = env.choice("LIMITS_WITHOUT_REDIS", "memory", ["memory", "refuse"])
LIMITS_REDIS_TIMEOUT_MS = env.integer("LIMITS_REDIS_TIMEOUT_MS", 50, at_least=5, at_most=5000)
GATEWAY_MAX_REPLY_BYTES = env.integer("GATEWAY_MAX_REPLY_BYTES", 64 * 1024**2, at_least=1024)
# --- Metering -------------------------------------------------------------------------------------------------------
USAGE_SPOOL_DIR = Path(env.text("USAGE_SPOOL_DIR", str(DATA_DIR / "usage"))).expanduser().resolve()
USAGE_SPOOL_MAX_MB = env.integer("USAGE_SPOOL_MAX_MB", 256, at_least=1, at_most=1_048_576)
USAGE_RETENTION_DAYS = env.integer("USAGE_RETENTION_DAYS", 90, at_least=2, at_most=3650)
USAGE_DAILY_RETENTION_DAYS = env.integer("USAGE_DAILY_RETENTION_DAYS", 1100, at_least=32, at_most=36500)

# --- The llm_app endpoints ------------------------------------------------------------------------------------------
ALLOWED_FACTORIES = env.items("ALLOWED_FACTORIES")  # empty: all

# --- People ---------------------------------------------------------------------------------------------------------
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
AXES_FAILURE_LIMIT = env.integer("LOGIN_FAILURE_LIMIT", 5, at_least=1, at_most=1000)
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_TEMPLATE = "llmadmin/locked.html"
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_VERBOSE = False
AXES_DISABLE_ACCESS_LOG = True
AXES_SENSITIVE_PARAMETERS = ["username", "password", "api_key", "secret"]
AXES_IPWARE_PROXY_COUNT = TRUSTED_PROXIES or None

# --- REST -----------------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["tenants.api.authentication.TokenOrSession"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["core.drf.StrictJSONParser"],
    "DEFAULT_PAGINATION_CLASS": "core.drf.Pagination",
    "DEFAULT_FILTER_BACKENDS": [
        "django_filters.rest_framework.DjangoFilterBackend",
        "rest_framework.filters.SearchFilter",
        "core.drf.Ordering",
    ],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_THROTTLE_CLASSES": ["core.drf.CallerThrottle"],
    "DEFAULT_THROTTLE_RATES": {
        "caller": env.rate("API_THROTTLE", "1200/min"),
        "probe": env.rate("API_PROBE_THROTTLE", "60/min"),
    },
    "EXCEPTION_HANDLER": "core.drf.problem_json",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "llmadmin",
    "DESCRIPTION": "Administer an organisation's language models: catalogue, tenants' keys and models, probes, jobs.",
    "VERSION": "0.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "SORT_OPERATIONS": True,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "core.openapi.group_by_resource",
    ],
    "ENUM_NAME_OVERRIDES": {
        "HealthEnum": "runtimes.models.Health.choices",
        "JobStateEnum": "jobs.models.JobState.choices",
        "ServedModelStateEnum": "runtimes.models.ModelState.choices",
        "LLMTypeEnum": "providers.fields.TYPE_CHOICES",
        "StatusEnum": "providers.models.STATUS_CHOICES",
        "VerdictEnum": "tenants.models.credential.VERDICT_CHOICES",
    },
}

# --- Content security: the admin theme's Alpine.js evaluates expressions --------------------------------------------
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "script-src": ["'self'", "'unsafe-inline'", "'unsafe-eval'"],
        "style-src": ["'self'", "'unsafe-inline'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'", "data:"],
        "object-src": ["'none'"],
        "base-uri": ["'self'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}

# --- Logs -----------------------------------------------------------------------------------------------------------
LOG_LEVEL = env.choice("LOG_LEVEL", "INFO", ["DEBUG", "INFO", "WARNING", "ERROR"])
LOG_FORMAT = env.choice("LOG_FORMAT", "text", ["text", "json"])
LOGGING_CONFIG = "core.logging.configure"
LOGGING = logging_config(level=LOG_LEVEL, style=LOG_FORMAT)

# --- Metrics --------------------------------------------------------------------------------------------------------
METRICS_TOKEN = env.text("METRICS_TOKEN", "")  # who has it may read /metrics
METRICS_TENANT_LABEL = env.flag("METRICS_TENANT_LABEL", False)
