"""Django's generic classes, which take their parameters from the type checker only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.forms import ModelForm

if TYPE_CHECKING:
    AnyModelAdmin = admin.ModelAdmin[Any]
    AnyModelForm = ModelForm[Any]
    AnyPaginator = Paginator[Any]
else:
    AnyModelAdmin, AnyModelForm, AnyPaginator = admin.ModelAdmin, ModelForm, Paginator

__all__ = ["AnyModelAdmin", "AnyModelForm", "AnyPaginator"]
