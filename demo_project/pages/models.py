"""The rows of two pages: lines of the chat, and orders. Both publish their changes."""

from __future__ import annotations

from django.db import models

from eric_sse_django.broadcasts import broadcasts


@broadcasts("chat", fields=["author", "text", "at"])
class Line(models.Model):
    author = models.CharField(max_length=40)
    text = models.CharField(max_length=200)
    at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.author}: {self.text}"


@broadcasts("orders", template="pages/row.html", target="orders", library="plain")
class Order(models.Model):
    item = models.CharField(max_length=40)
    total = models.PositiveIntegerField(default=10)
    is_paid = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f"{self.item} #{self.pk}"
