"""What an upstream offers for a key: a button that lists it, and a page that shows the difference and adds from it."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import path, reverse
from django.views.decorators.cache import never_cache

from core.admin import actor_of, badge, object_action, refusal_text, widgets
from core.errors import AppError
from jobs.models import Job, JobState
from providers.discovery import Source
from providers.fields import TYPE_CHOICES
from tenants.admin.common import verdict_badge
from tenants.models import Credential
from tenants.services import adoption, discovery
from tenants.services.discovery import Diff, Row, State
from tenants.services.tenant_llms import MAX_NAME

ROWS_SHOWN = 500  # of one section: past that, people search
FAILURES_SHOWN = 20
WATCHED = (discovery.JOB_TYPE, "probe")
TYPED_BY = {
    Source.UPSTREAM: "",
    Source.CATALOGUE: "says the catalogue",
    Source.FACTORY: "as all of this factory's",
    Source.NAME: "by its name",
}
SECTIONS = (
    (State.NEW, "New", "add_circle", "added", True),
    (State.DIFFERS, "Other types than here", "change_circle", "changed", True),
    (State.GONE, "Used, but not listed", "do_not_disturb_on", "removed", True),
    (State.PRESENT, "In use", "check_circle", "present", False),
)


class NarrowForm(forms.Form):
    """How the list is narrowed."""

    q = forms.CharField(
        required=False,
        max_length=MAX_NAME,
        label="Name",
        widget=widgets.UnfoldAdminTextInputWidget({"placeholder": "A part of the name", "type": "search"}),
    )
    type = forms.ChoiceField(
        required=False, choices=[("", "every type"), *TYPE_CHOICES], widget=widgets.UnfoldAdminSelectWidget
    )


class Discovering:
    """Mixin of the credentials' admin."""

    def get_urls(self) -> list[Any]:
        wrap = self.admin_site.admin_view  # type: ignore[attr-defined]
        live, page = wrap(never_cache(self.models_live_view)), wrap(self.models_view)
        return [
            path("<path:object_id>/models/live/", live, name="tenants_credential_models_live"),
            path("<path:object_id>/models/", page, name="tenants_credential_models"),
            *super().get_urls(),  # type: ignore[misc]
        ]

    @object_action(label="List models", icon="travel_explore", permission="operate", when=discovery.can_list)
    def list_models(self, request: HttpRequest, credential: Credential) -> HttpResponse:
        return _watch(credential, discovery.discover(credential, actor=actor_of(request)))

    def models_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """GET: the difference, narrowed by `q` and `type`. POST: use the chosen `model`s, tested if `test` is set."""
        credential = self._seen(request, object_id)
        if request.method == "POST":
            if not _may_add(request):
                raise PermissionDenied
            try:
                return _adopted(request, credential)
            except AppError as error:
                messages.error(request, refusal_text(error))
                return HttpResponseRedirect(models_url(credential))
        form = NarrowForm(request.GET)
        narrowed = form.cleaned_data if form.is_valid() else {}
        found = discovery.diff(credential)
        job = _watched_job(credential, request.GET.get("job", "")) or _latest_job(credential)
        context = {
            **self.admin_site.each_context(request),  # type: ignore[attr-defined]
            "title": f"Models of {credential}",
            "opts": self.opts,  # type: ignore[attr-defined]
            "credential": credential,
            "found": found,
            "form": form,
            "sections": [section for state in SECTIONS if (section := _section(found, narrowed, *state))],
            "job": job,
            "panel": _panel(credential, job),
            "may_add": _may_add(request) and not found.outdated,
            "may_list": self.has_operate_permission(request, credential) and discovery.can_list(credential),  # type: ignore[attr-defined]
        }
        return render(request, "llmadmin/credential_models.html", context)

    def models_live_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        credential = self._seen(request, object_id)
        keys = request.GET.get("keys", "").split(",")
        jobs = [job for key in keys[:2] if (job := _watched_job(credential, key)) is not None]
        return JsonResponse(
            {"items": {job.pk: {"html": _panel(credential, job), "finished": job.is_finished} for job in jobs}}
        )

    def _seen(self, request: HttpRequest, object_id: str) -> Credential:
        if not self.has_view_permission(request):  # type: ignore[attr-defined]
            raise PermissionDenied
        credential: Credential | None = self.get_object(request, object_id)  # type: ignore[attr-defined]
        if credential is None:
            raise Http404
        return credential


def models_url(credential: Credential) -> str:
    return reverse("admin:tenants_credential_models", args=[credential.pk])


def _watch(credential: Credential, job: Job) -> HttpResponseRedirect:
    return HttpResponseRedirect(f"{models_url(credential)}?job={job.pk}")


def _may_add(request: HttpRequest) -> bool:
    return request.user.has_perm("tenants.add_tenantllm")


def _adopted(request: HttpRequest, credential: Credential) -> HttpResponse:
    names = request.POST.getlist("model")
    if not names:
        messages.warning(request, "Nothing was chosen.")
        return HttpResponseRedirect(models_url(credential))
    pairs = [(name, "") for name in names]
    taken = adoption.adopt(credential, models=pairs, test="test" in request.POST, actor=actor_of(request))
    if taken.job is not None:
        return _watch(credential, taken.job)
    messages.success(request, f"{len(taken.names)} models are used through {credential} now, untested.")
    return HttpResponseRedirect(models_url(credential))


def _latest_job(credential: Credential) -> Job | None:
    jobs = Job.objects.for_tenant(credential.tenant_id).filter(type=discovery.JOB_TYPE)
    return jobs.filter(params__credential_id=credential.pk).order_by("-created_at").first()


def _watched_job(credential: Credential, pk: str) -> Job | None:
    """A test that adds models has an id of its own for what it tests: only its tenant says whose it is."""
    return Job.objects.for_tenant(credential.tenant_id).filter(pk=pk, type__in=WATCHED).first() if pk else None


def _panel(credential: Credential, job: Job | None) -> str:
    if job is None:
        return render_to_string("llmadmin/models_panel.html", {"credential": credential, "job": None})
    outcome = badge(job.get_state_display(), "danger")
    if job.state == JobState.COMPLETED:
        verdict = str(job.result.get("verdict") or "")
        outcome = badge("done", "success") if job.result.get("saved", True) else verdict_badge(verdict or "untested")
    failures = job.result.get("failures", [])[:FAILURES_SHOWN]
    context = {"credential": credential, "job": job, "outcome": outcome, "failures": failures}
    return render_to_string("llmadmin/models_panel.html", {**context, "lists": job.type == discovery.JOB_TYPE})


def _section(
    found: Diff, narrowed: dict[str, Any], state: State, title: str, icon: str, css: str, opened: bool
) -> dict[str, Any] | None:
    wanted, kind = str(narrowed.get("q") or "").lower(), narrowed.get("type")
    rows = [
        row
        for row in found.rows
        if row.state is state and wanted in row.llm_name.lower() and (not kind or kind in row.model_types)
    ]
    if not rows:
        return None
    shown = [_shown(row) for row in rows[:ROWS_SHOWN]]
    return {
        "state": state.value, "title": title, "icon": icon, "css": css, "open": opened, "rows": shown,
        "count": len(rows), "more": len(rows) - len(shown), "chooses": state in (State.NEW, State.DIFFERS),
    }  # fmt: skip


def _shown(row: Row) -> dict[str, Any]:
    features = [name for name in ("tools", "thinking", "vision") if getattr(row, name)]
    used = row.tenant_llm
    return {
        "row": row,
        "types": row.model_types,
        "typed_by": TYPED_BY.get(row.typed_by, ""),  # type: ignore[call-overload]
        "features": features,
        "here": ", ".join(used.model_types) if used is not None else "",
        "url": reverse("admin:tenants_tenantllm_change", args=[used.pk]) if used is not None else "",
    }
