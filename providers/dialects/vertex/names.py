"""A model's place in Vertex AI: project, location, publisher, and the method at its end.

Sources: https://cloud.google.com/vertex-ai/generative-ai/docs/learn/locations,
https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference
"""

from __future__ import annotations

import re

from providers.base_urls import is_region
from providers.errors import ModelNotFound, WrongURL
from providers.target import Target
from providers.wire import Operation

NAME = "vertex"
GOOGLE, ANTHROPIC = "google", "anthropic"
# Fields of the credential.
PROJECT, REGION = "google_project_id", "google_region"
_PROJECT = re.compile(r"[a-z0-9][a-z0-9.:\-]{0,62}")
_MODEL = re.compile(r"[A-Za-z0-9][\w.@\-]{0,127}", re.A)
_PUBLISHER = re.compile(r"[a-z0-9][a-z0-9\-]{0,62}")


def split(target: Target) -> tuple[str, str]:
    """Publisher and model: "mistralai/mistral-medium-3" says both, the quirk `publishers` tells others by their names.

    Raises ModelNotFound for what is no name.
    """
    publisher, _, model = target.upstream_model.rpartition("/")
    publisher = publisher or target.quirks.publisher_of(model) or GOOGLE
    if not _PUBLISHER.fullmatch(publisher) or not _MODEL.fullmatch(model):
        raise ModelNotFound("No model of this wire format has such a name.", step="build")
    return publisher, model


def url(target: Target, operation: Operation, method: str) -> str:
    """The URL of a model's method; raises WrongURL without a project and a region."""
    project, region = (target.credential.fields.get(name, "").strip() for name in (PROJECT, REGION))
    if not _PROJECT.fullmatch(project) or not is_region(region):
        raise WrongURL(
            "The credential does not say which project and region of Google Cloud to call.",
            hint="Enter the project's id, such as my-project-123456, and a region, such as global or europe-west1.",
            step="build",
        )
    publisher, model = split(target)
    place = f"/projects/{project}/locations/{region}/publishers/{publisher}/models/{model}"
    return target.url_for(operation, f"{place}:{method}")
