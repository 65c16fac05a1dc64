"""How our views describe themselves in the OpenAPI document."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from drf_spectacular.openapi import AutoSchema
from rest_framework import serializers

from core.drf import PROBLEM_JSON


class ProblemSerializer(serializers.Serializer[Any]):
    """A problem document (RFC 9457)."""

    type = serializers.CharField(help_text="Always about:blank; `code` tells errors apart.")
    title = serializers.CharField(help_text="The phrase of the HTTP status.")
    status = serializers.IntegerField()
    detail = serializers.CharField(help_text="What went wrong.")
    code = serializers.CharField(help_text="A stable name of the error.")
    hint = serializers.CharField(required=False, help_text="What to do about it.")
    fields = serializers.DictField(  # type: ignore[assignment]  # the wire's name
        child=serializers.ListField(child=serializers.CharField()),
        required=False,
        help_text="What is wrong with which input.",
    )


class ResourceSchema(AutoSchema):
    """Adds the errors that every endpoint can answer, and says that ids are opaque strings."""

    ALWAYS: ClassVar = {"401": "Nobody we know is asking.", "429": "Slow down: see Retry-After."}

    def _get_response_bodies(self, direction: Literal["request", "response"] = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        expected = dict(self.ALWAYS)
        if self.method in {"POST", "PUT", "PATCH"}:
            expected |= {
                "400": "The request is not valid.",
                "413": "The body is too large.",
                "415": "The body is not JSON.",
            }
        elif self._is_list_view():
            expected["400"] = "A filter is not valid."
        expected |= {"403": "The role or the scope is not enough.", "404": "It does not exist, or is not yours."}
        if self.method not in {"GET", "HEAD"}:
            expected["409"] = "It clashes with what is there."
        for status, description in expected.items():
            if status not in bodies:
                bodies[status] = {
                    **self._get_response_for_code(ProblemSerializer, status, [PROBLEM_JSON], direction),  # type: ignore[no-untyped-call]
                    "description": description,
                }
        return dict(sorted(bodies.items()))

    def _resolve_path_parameters(self, variables: list[str]) -> list[dict[str, Any]]:
        return [
            {"in": "path", "name": name, "schema": {"type": "string"}, "required": True, "description": "Its id."}
            for name in sorted(variables)
        ]


def group_by_resource(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """For POSTPROCESSING_HOOKS: operations stand under what they are about, and not all under “api”."""
    for path, operations in result["paths"].items():
        resource = path.removeprefix("/api").split("/")[1]
        for operation in operations.values():
            operation["tags"] = [resource]
    return result
