"""Every kind of background work: what it is called, who does it, for how long, and who may ask for it.

Data only, read by jobs.services.types; docs/jobs.md says what each key means.
"""

from typing import Any

# Models wait in a line of their own, which workers of their own serve: a day-long download delays no probe.
JOB_QUEUES = ("default", "maintenance", "models")

JOB_GROUPS = {
    "credentials": "Keys of tenants: tests, and lists of the models they reach.",
    "maintenance": "Upkeep of the installation.",
    "services": "Looks at services.",
    "llm_model_ops": "What is done to the models of services.",
}

_ID = {"type": "string", "minLength": 1, "maxLength": 64}
_SERVICE = {"type": "string", "maxLength": 64, "default": "", "description": "Empty: the one before the model's “~”."}
_MODEL = {"type": "string", "minLength": 1, "maxLength": 320, "description": "Its name, or service~name."}
_OPTIONS = {"type": "object", "default": {}, "description": "What the service's driver takes beside."}


def _model_job(
    verb: str, description: str, *, handler: str = "", timeout_s: int = 3600, **params: Any
) -> dict[str, Any]:
    """A job that does something to one model; downloads may take a day, and go on where they were."""
    return {
        "handler": f"runtimes.services.operations.{handler or verb}",
        "prepare": f"runtimes.services.operation_requests.prepare_{verb}",
        "aliases": [verb],
        "description": description,
        "params": {
            "properties": {"service_name": _SERVICE, "model_name": _MODEL, **params},
            "required": ["model_name", *(name for name in params if "default" not in params[name])],
        },
        "queue": "models",
        "timeout_s": timeout_s,
        "max_attempts": 5,
        # A download tells of each piece; a load may be silent for long, and is bounded by its service's timeouts.
        "stall_after_s": 900 if timeout_s > 3600 else None,
        "suspendable": timeout_s > 3600,
        "who": "managers",
    }


JOB_TYPES: dict[str, dict[str, Any]] = {
    "probe": {
        "handler": "tenants.services.probing.run_job",
        "group": "credentials",
        "aliases": ["credentials:probe"],
        "description": "Test a credential against its vendor. Asked for through the credential.",
        "params": {
            "properties": {
                "credential_id": _ID,
                "pairs": {
                    "type": ["array", "null"],
                    "items": {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2},
                    "description": "Which (model, type); null for all.",
                },
                "free_only": {"type": "boolean", "description": "Only what costs nothing."},
            },
            "required": ["credential_id"],
        },
    },
    "discover": {
        "handler": "tenants.services.discovery.run_job",
        "group": "credentials",
        "aliases": ["credentials:discover"],
        "description": "List the models that a credential reaches. Asked for through the credential.",
        "params": {"properties": {"credential_id": _ID}, "required": ["credential_id"]},
    },
    "catalog_import": {
        "handler": "providers.services.catalog_import.run_job",
        "prepare": "jobs.services.types.one_at_a_time",
        "group": "maintenance",
        "aliases": ["maintenance:catalog_import"],
        "description": "Add to the catalogue what this release's fixtures have and it has not.",
        "params": {
            "properties": {
                "overwrite": {"type": "boolean", "default": False, "description": "Undo what operators have edited."},
                "retire": {"type": "boolean", "default": False, "description": "Switch off what the fixtures lack."},
            }
        },
        "queue": "maintenance",
        "who": "staff",
    },
    "rotate_secrets": {
        "handler": "tenants.services.rotation.run_job",
        "group": "maintenance",
        "aliases": ["maintenance:rotate_secrets"],
        "description": "Write every stored key anew under the primary encryption key.",
        "params": {"properties": {"key": {"type": "string"}}},
        "queue": "maintenance",
        "timeout_s": 86_400,
        "max_attempts": 20,
    },
    "service_check": {
        "handler": "runtimes.services.operations.check",
        "prepare": "runtimes.services.operation_requests.prepare_service",
        "group": "services",
        "description": "Look at a service now: whether it answers, and which models it has.",
        "params": {"properties": {"service_name": _ID}, "required": ["service_name"]},
        "timeout_s": 120,
        "who": "staff",
    },
    "llm_model_ops:refresh": {
        "handler": "runtimes.services.operations.refresh",
        "prepare": "runtimes.services.operation_requests.prepare_service",
        "aliases": ["refresh"],
        "description": "List the models of a service anew.",
        "params": {"properties": {"service_name": _ID}, "required": ["service_name"]},
        "timeout_s": 120,
        "who": "managers",
    },
    "llm_model_ops:install": _model_job(
        "install", "Fetch a model from where its runtime gets them.", timeout_s=86_400, options=_OPTIONS
    ),
    "llm_model_ops:import": _model_job(
        "import",
        "Take a model from a file or a URL that its runtime can read.",
        handler="import_",
        timeout_s=86_400,
        path={"type": "string", "minLength": 1, "maxLength": 2048, "description": "As the runtime sees it."},
        options=_OPTIONS,
    ),
    "llm_model_ops:update": _model_job("update", "Fetch what is new of a model.", timeout_s=86_400, options=_OPTIONS),
    "llm_model_ops:load": _model_job("load", "Bring a model into memory.", options=_OPTIONS),
    "llm_model_ops:unload": _model_job("unload", "Take a model out of memory."),
    "llm_model_ops:delete": _model_job("delete", "Remove a model from its runtime for good."),
}
