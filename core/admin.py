"""The admin's one façade: the only module that imports the theme (django-unfold).

Admins of all rooms build on the classes here, so that every list is cheap at any size, every write goes through a
service, what a service refuses is shown on the form that asked for it, and nothing changes on a GET.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.contrib.admin import ShowFacets
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.db import models, transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import path, reverse
from django.views.decorators.cache import never_cache
from simple_history.admin import SimpleHistoryAdmin
from unfold import forms as theme_forms
from unfold import widgets
from unfold.admin import ModelAdmin as ThemeModelAdmin
from unfold.admin import StackedInline
from unfold.admin import TabularInline as ThemeTabularInline
from unfold.contrib.filters.admin import (
    AutocompleteSelectFilter,
    BooleanRadioFilter,
    ChoicesDropdownFilter,
    DropdownFilter,
    RadioFilter,
    RangeDateFilter,
    RangeDateTimeFilter,
    TextFilter,
)
from unfold.decorators import action, display
from unfold.fields import UnfoldAdminReadonlyField
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.sites import UnfoldAdminSite
from unfold.views import ChangeList as ThemeChangeList

from core.admin_parts import (
    AutocompleteView,
    CappedPaginator,
    ObjectAction,
    ScopedAutocomplete,
    ServiceForm,
    StrictJSON,
    actor_of,
    adopt,
    badge,
    json_text,
    link,
    object_action,
    refusal_text,
)
from core.errors import AppError

__all__ = [
    "AdminPasswordChangeForm",
    "AdminSite",
    "AutocompleteSelectFilter",
    "BooleanRadioFilter",
    "CappedPaginator",
    "ChoicesDropdownFilter",
    "CodeArea",
    "DropdownFilter",
    "HistoryAdmin",
    "JSONField",
    "ModelAdmin",
    "RadioFilter",
    "RangeDateFilter",
    "RangeDateTimeFilter",
    "ReadOnly",
    "ScopedAutocomplete",
    "ServiceForm",
    "StackedInline",
    "StrictJSON",
    "TabularInline",
    "TextFilter",
    "UserChangeForm",
    "UserCreationForm",
    "action",
    "actor_of",
    "adopt",
    "badge",
    "display",
    "json_text",
    "link",
    "object_action",
    "refusal_text",
    "widgets",
]

LIVE_LIMIT = 100


class AdminSite(UnfoldAdminSite):
    def autocomplete_view(self, request: HttpRequest) -> Any:
        return AutocompleteView.as_view(admin_site=self)(request)


class ReadonlyField(UnfoldAdminReadonlyField):
    """A row of another table is a link only for those who may see it: no link leads to a refusal."""

    def get_admin_url(self, remote_field: Any, remote_obj: Any) -> str:
        request, site, model = getattr(self.form, "request", None), self.model_admin.admin_site, remote_field.model
        if request is None or not site.is_registered(model):
            return str(remote_obj)
        may = site.get_model_admin(model).has_view_permission(request, remote_obj)
        return super().get_admin_url(remote_field, remote_obj) if may else str(remote_obj)


theme_forms.UnfoldAdminReadonlyField = ReadonlyField  # the theme looks the class up there, and has no other way in


class ChangeList(ThemeChangeList):
    """Hands the rows of the page to the admin at once, so that it can look up what they need in one query each."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if not self.has_active_filters and not self.query:
            self.full_result_count = self.result_count
        rows: list[Any] = list(self.result_list) if self.result_count else []  # type: ignore[has-type]
        self.result_list = rows
        self.model_admin.prepare_rows(request, rows)


class CodeArea(widgets.UnfoldAdminTextareaWidget):
    """For JSON: monospaced, and as high as it needs to be."""

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        super().__init__({"rows": 6, "spellcheck": "false", **(attrs or {}), "class": "lla-code"})


class JSONField(forms.JSONField):
    widget = CodeArea

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, forms.fields.InvalidJSONInput):
            return value
        return json.dumps(value, indent=2, ensure_ascii=False, cls=self.encoder)


class ModelAdmin(ThemeModelAdmin):
    """What every admin of ours starts from."""

    form = ServiceForm
    paginator = CappedPaginator
    show_full_result_count = False
    list_per_page = 50
    list_max_show_all = 0
    list_filter_submit = True
    show_facets = ShowFacets.NEVER  # they would count the whole table once for each choice
    warn_unsaved_form = True
    formfield_overrides: ClassVar[dict[Any, Any]] = {
        models.JSONField: {"form_class": JSONField, "widget": CodeArea, "decoder": StrictJSON},
        models.URLField: {"assume_scheme": "https"},
    }
    change_form_outer_before_template = "llmadmin/object_actions.html"
    object_actions: Sequence[str] = ()
    pollable = False

    def prepare_rows(self, request: HttpRequest, rows: list[Any]) -> None:
        """Called once with all rows of a list's page."""

    def live_items(self, request: HttpRequest, keys: list[str]) -> dict[str, dict[str, Any]]:
        """For `pollable` admins: what a page that watches these keys shows now ({"html", "finished"} each)."""
        raise NotImplementedError

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return ChangeList

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        return type(form.__name__, (form,), {"refusal": getattr(request, "refusal", None), "request": request})

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and type(field.widget) is forms.CheckboxSelectMultiple:
            field.widget = widgets.UnfoldAdminCheckboxSelectMultipleWidget(choices=field.choices)
        if field is not None and type(field.widget) is forms.NumberInput:  # of a column of ours: the theme hides it
            field.widget = widgets.UnfoldAdminDecimalFieldWidget(attrs=field.widget.attrs)
        return field

    # --- What a service refuses is shown where it was asked for -----------------------------------------------------

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except AppError as error:
            if request.method != "POST" or getattr(request, "refusal", None) is not None:
                raise
            request.refusal = error  # type: ignore[attr-defined]
            return super().changeform_view(request, object_id, form_url, extra_context)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return self._told(
            request, request.get_full_path(), lambda: super(ModelAdmin, self).changelist_view(request, extra_context)
        )

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None) -> Any:
        here = reverse(f"admin:{self._url_stem}_change", args=[object_id])
        return self._told(request, here, lambda: super(ModelAdmin, self).delete_view(request, object_id, extra_context))

    def render_delete_form(self, request: HttpRequest, context: Any) -> Any:
        answer = super().render_delete_form(request, context)
        answer.context_data["media"] = forms.Media()  # a list's scripts, which fail without the words of a list's page
        return answer

    def _told(self, request: HttpRequest, back: str, work: Callable[[], HttpResponse]) -> HttpResponse:
        """Does the work of a POST; a refusal becomes a message on the page one comes back to."""
        try:
            return work()
        except AppError as error:
            if request.method != "POST":
                raise
            self.message_user(request, refusal_text(error), messages.ERROR)
            return HttpResponseRedirect(back)

    def response_action(self, request: HttpRequest, queryset: Any) -> Any:
        """“All across pages” means what the page counted: where counting stops early, there is no such thing."""
        if self.list_disable_select_all and request.POST.get("select_across", "0") != "0":
            post = request.POST.copy()
            post["select_across"] = "0"
            request.POST = post  # type: ignore[assignment]
        return super().response_action(request, queryset)

    # --- Buttons that post, and views that are polled ---------------------------------------------------------------

    @property
    def _url_stem(self) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}"

    def get_urls(self) -> list[Any]:
        wrap = self.admin_site.admin_view
        urls = [path("<path:object_id>/do/<slug:name>/", wrap(self.object_action_view), name=f"{self._url_stem}_do")]
        if self.pollable:
            urls.append(path("live/", wrap(never_cache(self.live_view)), name=f"{self._url_stem}_live"))
        return urls + super().get_urls()

    def live_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        keys = [key for key in request.GET.get("keys", "").split(",") if key][:LIVE_LIMIT]
        return JsonResponse({"items": self.live_items(request, keys)})

    def object_action_view(self, request: HttpRequest, object_id: str, name: str) -> HttpResponse:
        if request.method != "POST":
            return HttpResponse(status=405, headers={"Allow": "POST"})
        obj = self.get_object(request, unquote(object_id))
        offered = next((item for item in self._object_actions() if item.name == name), None)
        if obj is None or offered is None:
            raise Http404
        if not getattr(self, f"has_{offered.permission}_permission")(request, obj):
            raise PermissionDenied
        here = reverse(f"admin:{self._url_stem}_change", args=[quote(obj.pk)])

        def work() -> HttpResponse:
            with transaction.atomic():
                return getattr(self, name)(request, obj) or HttpResponseRedirect(here)

        return self._told(request, here, work)

    def _object_actions(self) -> Iterable[ObjectAction]:
        return (getattr(self, name).object_action for name in self.object_actions)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        obj = kwargs.get("obj")
        if obj is not None:
            context["object_actions"] = [
                {"url": reverse(f"admin:{self._url_stem}_do", args=[quote(obj.pk), item.name]), "action": item}
                for item in self._object_actions()
                if getattr(self, f"has_{item.permission}_permission")(request, obj)
                and (not item.when or item.when(obj))
            ]
        return super().render_change_form(request, context, *args, **kwargs)


class TabularInline(ThemeTabularInline):
    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        formset = super().get_formset(request, obj, **kwargs)
        formset.form.request = request
        return formset


class ReadOnly:
    """Mixin: a table that people look at and never edit. The admin's own history of its rows would always be empty."""

    actions: Any = None
    list_disable_select_all = True

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        context["show_history"] = False
        return super().render_change_form(request, context, *args, **kwargs)  # type: ignore[misc]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class HistoryAdmin(SimpleHistoryAdmin, ModelAdmin):
    """For models whose history is kept field by field."""

    history_list_per_page = 25

    def history_form_view(
        self, request: HttpRequest, object_id: str, version_id: str, extra_context: Any = None
    ) -> Any:
        """The library shows old versions to whoever may look; going back to one takes the right to change."""
        if request.method == "POST" and not self.has_change_permission(request):
            raise PermissionDenied
        return super().history_form_view(request, object_id, version_id, extra_context)
